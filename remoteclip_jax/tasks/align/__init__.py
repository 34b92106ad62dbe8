"""The task `align`: fine-tunes the image tower so that images match the text embeddings of their classes.

The text tower is frozen. The modules import each other relatively, so that a copy of the folder is a task of its own.
"""
