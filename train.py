"""Train on your data or on synthetic data: `python train.py`; see --help."""

from remoteclip_jax.commands.train import run

if __name__ == "__main__":
    run()
