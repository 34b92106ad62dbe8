"""What the training loop needs to know of what it trains; every task makes one."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from jaxtyping import Array, Float

from remoteclip_jax.clip.model import Variables
from remoteclip_jax.data.pipeline import Batches
from remoteclip_jax.runs.config import TrainConfig
from remoteclip_jax.training.optimizer import TOWER_RULES, Rules
from remoteclip_jax.training.state import TrainState

Batch = dict[str, Any]
Parts = dict[str, Array]
# (parameters, batch statistics, batch, random key) → (loss, (further metrics, new batch statistics))
Loss = Callable[[dict[str, Any], dict[str, Any], Batch, Array], tuple[Float[Array, ""], tuple[Parts, dict[str, Any]]]]
Step = Callable[[TrainState, Batch], tuple[TrainState, Parts]]
MakeBatches = Callable[[int, int], Batches]  # see `Workload.batches`
Evaluate = Callable[[Variables], dict[str, float]]


@dataclass(frozen=True, eq=False)
class Workload:
    """A loss over batches, where the variables start, and how they are evaluated.

    `config` is the run's, with the architecture of the weights it starts from. `variables` makes the first variables,
    and `shapes` their shapes alone, for a checkpoint to fill. `rules` say which parameters train (see `optimizer`).
    A training may have two phases: `batches(step, first_steps)` iterates from that step on, and the batches of the
    first `first_steps`, a share `first_share` of all, are of another kind.

    `evaluate` gives validation metrics that the task's ranking knows; None where there is nothing to validate on.
    `rehearse(variables, n)` evaluates n images of the validation, which has `rehearsal_images`, to see how long that takes; of
    the final evaluation where there is no validation. `finish` evaluates the best weights after the last step, and
    takes `finish_share` times as long as all of them. `frozen` counts the parameters of what stays outside of the
    training, by name, for the report.
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
    frozen: dict[str, int] = field(default_factory=dict)
