"""How fast training and inference are on this machine: `python -m remoteclip_jax.benchmark`."""
