"""Evaluate a run or converted weights: `python eval.py --workdir=DIR --split=test`; see --help."""

from remoteclip_jax.commands.evaluate import run

if __name__ == "__main__":
    run()
