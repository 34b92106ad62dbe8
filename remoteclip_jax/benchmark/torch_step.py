"""The training step of `--task=align` in PyTorch, with open_clip's image tower, to compare with."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Float32, UInt8

from convert import require
from convert.to_torch import to_torch
from convert.verify import torch_model
from remoteclip_jax.benchmark.clock import Action, alternating_times
from remoteclip_jax.clip.inference import RemoteCLIP
from remoteclip_jax.clip.preprocess import MEAN, STD
from remoteclip_jax.tasks.align.config import AlignConfig

FORMATS = "channels_last", "contiguous_format"
TRIALS = 5  # blocks of steps with each memory format; the fastest one counts


class TorchAlign:
    """The image tower in PyTorch with the weights of `clip`, as fast as PyTorch allows.

    It uses the faster of two memory formats, fused AdamW and all cores; on a GPU also TF32; and `autocast` if the run's
    dtype is bfloat16. `compile_mode` is "no" or a mode of `torch.compile`; None stands for "default" on a GPU and for
    "no" on a processor. The memory format is chosen without compiling, for that can take minutes each time.
    """

    def __init__(
        self, clip: RemoteCLIP, config: AlignConfig, texts: Float[Any, "k d"], compile_mode: str | None = None
    ) -> None:
        self._torch = torch = require("torch")
        self._config, self.device = config, "cuda" if torch.cuda.is_available() else "cpu"
        self.compile_mode = compile_mode or ("default" if self.device == "cuda" else "no")
        torch.set_float32_matmul_precision("high")
        torch.backends.cudnn.benchmark = torch.backends.cudnn.allow_tf32 = True
        self._state = {name: torch.from_numpy(x) for name, x in to_torch(clip.variables).items()}
        self._shape = clip.config
        self._texts = torch.from_numpy(np.array(texts)).to(self.device)
        self._statistics = [torch.tensor(x, device=self.device).view(1, 3, 1, 1) * 255 for x in (MEAN, STD)]
        self.memory_format = ""

    def train_step(self, images: UInt8[np.ndarray, "b s s 3"], target: Float32[np.ndarray, "b k"]) -> Callable[[], Any]:
        """A function that does one training step on this batch and returns its loss, a scalar on the device. The faster
        memory format is chosen here."""
        torch = self._torch
        batch = torch.tensor(images, device=self.device), torch.tensor(target, device=self.device)
        steps = {name: self._step(getattr(torch, name), *batch, "no") for name in FORMATS}
        self.memory_format = _fastest({name: Action(step, lambda loss: loss.item()) for name, step in steps.items()})
        return self._step(getattr(torch, self.memory_format), *batch, self.compile_mode)

    def encoder(self, images: Float32[np.ndarray, "b s s 3"]) -> Callable[[], Any]:
        """A function that embeds these normalised images, in the faster memory format."""
        calls = {name: self._encoder(getattr(self._torch, name), images, "no") for name in FORMATS}
        fastest = _fastest({name: Action(call, lambda _: None) for name, call in calls.items()})
        return self._encoder(getattr(self._torch, fastest), images, self.compile_mode)

    def _encoder(
        self, memory_format: Any, images: Float32[np.ndarray, "b s s 3"], compile_mode: str
    ) -> Callable[[], Any]:
        torch = self._torch
        tower = self._tower(memory_format, compile_mode).eval()
        x = torch.from_numpy(images).permute(0, 3, 1, 2)

        def encode() -> Any:
            with torch.inference_mode(), self._autocast():
                moved = x.to(self.device).contiguous(memory_format=memory_format)
                return torch.nn.functional.normalize(tower(moved), dim=-1).float().cpu()

        return encode

    def _tower(self, memory_format: Any, compile_mode: str) -> Any:
        tower = torch_model(self._shape).visual
        tower.load_state_dict({k.removeprefix("visual."): v for k, v in self._state.items() if k.startswith("visual.")})
        tower = tower.to(self.device, memory_format=memory_format)
        return tower if compile_mode == "no" else self._torch.compile(tower, mode=compile_mode)

    def _autocast(self) -> Any:
        return self._torch.autocast(self.device, self._torch.bfloat16, enabled=self._config.dtype == "bfloat16")

    def _step(self, memory_format: Any, images: Any, target: Any, compile_mode: str) -> Callable[[], Any]:
        torch, config = self._torch, self._config
        tower = self._tower(memory_format, compile_mode).train()
        optimizer = torch.optim.AdamW(
            tower.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay, fused=True
        )
        mean, std = self._statistics
        entropy = -torch.special.xlogy(target, target).sum(-1).mean()

        def step() -> Any:
            x = (images.permute(0, 3, 1, 2).float() - mean) / std
            with self._autocast():
                z = tower(x.contiguous(memory_format=memory_format))
            z = torch.nn.functional.normalize(z.float(), dim=-1)
            logits = z @ self._texts.T / config.temperature
            loss = torch.nn.functional.cross_entropy(logits, target) - entropy
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            return loss.detach()

        return step


def _fastest(actions: dict[str, Action]) -> str:
    """The name of the action with the fastest block."""
    times = alternating_times(actions, TRIALS)
    return min(times, key=lambda name: min(times[name]))


def torchvision_reader(size: int) -> Callable[[Path], Any]:
    """A function that reads a training image as is usual with torchvision: it decodes with Pillow, resizes bicubically
    with antialiasing, and normalises to a float tensor.

    From now on PyTorch uses a single thread in this process, as in the worker of a DataLoader.
    """
    transforms, image = require("torchvision.transforms"), require("PIL.Image")
    require("torch").set_num_threads(1)
    bicubic = transforms.InterpolationMode.BICUBIC
    transform = transforms.Compose(
        [
            transforms.Resize((size, size), bicubic, antialias=True),
            transforms.ToTensor(),
            transforms.Normalize(MEAN, STD),
        ]
    )

    def read(path: Path) -> Any:
        with image.open(path) as opened:
            return transform(opened.convert("RGB"))

    return read
