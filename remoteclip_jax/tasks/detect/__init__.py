"""The task `detect`: the context-guided detector, trained end to end, evaluated, and used on images.

A room refers to its own modules relatively, so that a copy of the folder is a task of its own.
"""
