"""What the training loop needs to know about what it trains. Every task makes one."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from jaxtyping import Array, Float

from remoteclip_jax.clip.model import Variables
from remoteclip_jax.data.pipeline import Batches
from remoteclip_jax.runs.config import TrainConfig
from remoteclip_jax.runtime.devices import split_batch
from remoteclip_jax.training.optimizer import TOWER_RULES, Rules
from remoteclip_jax.training.state import TrainState

Batch = dict[str, Any]
Parts = dict[str, Array]
# (params, batch_stats, batch, random key) → (loss, (further metrics, new batch_stats))
Loss = Callable[[dict[str, Any], dict[str, Any], Batch, Array], tuple[Float[Array, ""], tuple[Parts, dict[str, Any]]]]
Step = Callable[[TrainState, Batch], tuple[TrainState, Parts]]
MakeBatches = Callable[[int, int], Batches]  # see `Workload.batches`
Evaluate = Callable[[Variables], dict[str, float]]


@dataclass(frozen=True, eq=False)
class Workload:
    """A loss, the batches it is computed on, the initial variables, and their evaluation.

    `config` is the run's, with the architecture of the initial weights. `variables` makes the initial variables.
    `shapes` gives only their shapes, which a checkpoint fills. `rules` say which parameters train (see `optimizer`).
    An epoch has `steps_per_epoch` steps.

    A training may have two phases with batches of different kinds. `batches(step, first_steps)` iterates over the
    batches from `step` on, the first phase being `first_steps` long. `first_share` is its share of all steps. `place`
    makes of such a batch the one that the loss gets: arrays [devices, b / devices, …] on the devices.

    `evaluate` returns validation metrics, which the task's ranking uses; None without validation. `finish` evaluates
    the best weights after the last step, and prints and writes the result. `rehearse(variables, n)` evaluates n images
    to measure how long it takes. There are `rehearsal_images` in total: those of the validation, or of the final
    evaluation if there is no validation. `finish` takes `finish_share` times as long as all of them.

    `frozen_counts` are the numbers of parameters outside of the training state, by name, for the report.
    """

    config: TrainConfig
    variables: Callable[[], Variables]
    shapes: Callable[[], Variables]
    loss: Loss
    batches: MakeBatches
    steps_per_epoch: int
    evaluate: Evaluate | None
    rehearse: Callable[[Variables, int], object] | None = None
    rehearsal_images: int = 0
    finish: Callable[[Variables], None] | None = None
    finish_share: float = 0.0
    first_share: float = 0.0
    rules: Rules = TOWER_RULES
    frozen_counts: dict[str, int] = field(default_factory=dict)
    place: Callable[[Batch], Batch] = split_batch
