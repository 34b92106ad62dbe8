"""The task `detect`: trains the context-guided detector end to end, evaluates it, and applies it to images.

The modules import each other relatively, so that a copy of the folder is a task of its own.
"""
