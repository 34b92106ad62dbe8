"""The files of a training run: its directory, configuration, metrics, checkpoints, data and summary.

The training loop and the tasks use this package. It depends on neither of them.
"""
