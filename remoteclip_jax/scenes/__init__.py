"""A synthetic DIOR: aerial-looking scenes with all 20 classes, drawn by this project, deterministic in the seed."""

from remoteclip_jax.scenes.picture import draw_scene
from remoteclip_jax.scenes.write import draw_dataset

__all__ = ["draw_dataset", "draw_scene"]
