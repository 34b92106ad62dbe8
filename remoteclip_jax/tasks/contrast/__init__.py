"""The task `contrast`: trains both towers of a CLIP on images and their captions, as CLIP itself was trained.

The modules import each other relatively, so that a copy of the folder is a task of its own.
"""
