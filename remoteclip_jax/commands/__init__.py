"""The command lines, a file each: they parse absl flags, call a function of the library, and print what it returns.

A wrong flag and --help answer at once: JAX is loaded after the flags are looked at.
"""
