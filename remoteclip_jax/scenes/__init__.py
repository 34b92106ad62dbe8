"""Synthetic data: aerial-looking scenes with all 20 DIOR classes, generated procedurally and deterministic in the seed.

`generate_dataset` writes a data set with annotations; `render_scene` gives one image with its boxes.
"""

from remoteclip_jax.scenes.dataset import generate_dataset
from remoteclip_jax.scenes.images import render_scene

__all__ = ["generate_dataset", "render_scene"]
