"""What the loop needs to know of a task; `align` and `detect` each make one."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from jaxtyping import Array, Float

from remoteclip_jax.clip.model import Variables
from remoteclip_jax.data.pipeline import Batches
from remoteclip_jax.training.state import TrainState

Batch = dict[str, Any]
Parts = dict[str, Array]
# (parameters, batch statistics, batch, random key) → (loss, (further metrics, new batch statistics))
Loss = Callable[[dict[str, Any], dict[str, Any], Batch, Array], tuple[Float[Array, ""], tuple[Parts, dict[str, Any]]]]
Step = Callable[[TrainState, Batch], tuple[TrainState, Parts]]
MakeBatches = Callable[[int, int], Batches]  # see `Task.batches`
Evaluate = Callable[[Variables], dict[str, float]]


@dataclass(frozen=True, eq=False)
class Task:
    """`variables` makes the first ones, and `shapes` their shapes alone, for a checkpoint to fill.
    `batches(step, align_steps)` iterates from that step on, where the first `align_steps` of a training, a share
    `align_share`, have another kind of batch; `evaluate` is None where there is nothing to validate on, and else gives
    the metrics that `ranking` knows. `finish` evaluates the best weights after the last step.

    `rehearse(variables, n)` evaluates n images of the validation, which has `rehearsed`, to see how long that takes; of
    the final evaluation where there is no validation. `finish` takes `finish_share` times as long as all of them."""

    variables: Callable[[], Variables]
    shapes: Callable[[], Variables]
    loss: Loss
    batches: MakeBatches
    per_epoch: int
    evaluate: Evaluate | None
    rehearse: Callable[[Variables, int], object] | None = None
    rehearsed: int = 0
    finish: Callable[[Variables], None] | None = None
    finish_share: float = 0.0
    align_share: float = 0.0
