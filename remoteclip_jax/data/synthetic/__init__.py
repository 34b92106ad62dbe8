"""A synthetic DIOR: aerial-looking scenes with all 20 classes, drawn by this project, deterministic in the seed."""

from remoteclip_jax.data.synthetic.picture import draw_scene
from remoteclip_jax.data.synthetic.write import draw_dataset

__all__ = ["draw_dataset", "draw_scene"]
