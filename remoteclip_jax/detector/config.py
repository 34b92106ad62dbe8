"""Sizes, options and loss weights of the context-guided detector."""

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal, get_args

QueryInit = Literal["two_stage", "learned", "sinusoidal"]
Gating = Literal["film", "concat_mlp", "none"]
ClassLoss = Literal["quality", "bce", "varifocal"]

STRIDES = (8, 16, 32)  # of the levels C3, C4 and C5


@dataclass(frozen=True)
class DetectorConfig:
    """The configuration of the four stages; the defaults are the small detector's.

    Sizes: training uses `queries` for each window; whole images get `predict_queries` (with two-stage queries only).
    `denoising` is the number of denoising queries, 0 for none.

    Classification: `prior` is the score of every class at the start. With binary cross-entropy ("quality" has the box's
    IoU as its target, "bce" has 1) it is about the share of positives among all pairs of position and class; with
    varifocal loss it should be 0.01.

    Loss weights: `class_weight`, `l1_weight` and `giou_weight` apply to every decoder layer (1, 5, 2 in DETR and in the
    original experiment), `dense` to the one-to-many loss of the encoder's positions, and `contrast` to the global
    contrast loss of queries and positions (0 by default: docs/detector.md has the evidence). `background`, relative to
    `contrast`, pulls unmatched queries towards the global context. `presence` keeps the global context aligned with the
    texts of what is in the image.

    Matching: `match_class`, `match_l1` and `match_giou` weight the cost. An unmatched query whose IoU with an object is
    at least `match_overlap` is assigned to that object too (above 1: never).
    """

    width: int = 64
    heads: int = 4
    layers: int = 2
    queries: int = 100
    predict_queries: int = 300
    feed_forward: int = 256
    points: int = 4
    query_init: QueryInit = "two_stage"
    gating: Gating = "film"
    text_conditioning: bool = True
    class_loss: ClassLoss = "quality"
    prior: float = 0.0015
    class_weight: float = 1.0
    l1_weight: float = 5.0
    giou_weight: float = 2.0
    match_class: float = 2.0
    match_l1: float = 5.0
    match_giou: float = 2.0
    match_overlap: float = 2.0
    dense: float = 2.0
    denoising: int = 30
    contrast: float = 0.0
    background: float = 0.1
    presence: float = 0.5
    remove_truth: bool = True  # remove from I_g its component along the texts of what is in the image
    train_norm: bool = True  # batch statistics in the image tower; False (frozen) suits trained weights

    def __post_init__(self) -> None:
        for name, kind in (("query_init", QueryInit), ("gating", Gating), ("class_loss", ClassLoss)):
            if getattr(self, name) not in get_args(kind):
                raise ValueError(f"{name}={getattr(self, name)!r}: it must be one of {', '.join(get_args(kind))}")
        for name, low, high in (
            ("width", 4, 4096),
            ("heads", 1, 64),
            ("layers", 1, 64),
            ("points", 1, 64),
            ("queries", 1, 10_000),
            ("predict_queries", 1, 10_000),
            ("feed_forward", 1, 65_536),
            ("denoising", 0, 10_000),
        ):
            if not low <= getattr(self, name) <= high:
                raise ValueError(f"{name}={getattr(self, name)} must lie between {low} and {high}")
        if self.width % self.heads or self.width % 4:
            raise ValueError(f"width {self.width} must be a multiple of 4 and of the {self.heads} heads")

    def replace(self, **changes: Any) -> "DetectorConfig":
        """A copy with `changes`. ValueError as for a new configuration."""
        return dataclasses.replace(self, **changes)
