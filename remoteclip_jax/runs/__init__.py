"""What lies on the disk of a training run: its directory, configuration, metrics, checkpoints, data and summary.

Tasks and the training loop use it; it knows neither.
"""
