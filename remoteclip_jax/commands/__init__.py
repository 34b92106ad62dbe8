"""The command lines, one file each. They parse absl flags, call a function of the library, and print its result.

JAX is loaded after the flags have been parsed, so that --help and errors in the flags appear at once.
"""
