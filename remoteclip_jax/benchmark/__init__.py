"""The speed of training and inference on this machine: `python -m remoteclip_jax.benchmark`."""
