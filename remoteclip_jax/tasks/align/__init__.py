"""The task `align`: an image's embedding comes to match the text embedding of its class. The text tower is frozen.

A room refers to its own modules relatively, so that a copy of the folder is a task of its own.
"""
