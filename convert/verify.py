"""The check of a conversion: the Flax model with the written weights against open_clip with those of the file."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import numpy as np
from jaxtyping import Float32

from convert import require
from remoteclip_jax.clip.config import CLIPConfig
from remoteclip_jax.clip.inference import EXACT
from remoteclip_jax.clip.model import CLIP, Variables
from remoteclip_jax.clip.preprocess import normalise
from remoteclip_jax.clip.prompts import prompts
from remoteclip_jax.clip.tokenizer import tokenize
from remoteclip_jax.data.classes import DIOR_CLASSES

BOUND = 2e-5  # for unit-length embeddings, in float32 on both sides; an RN50 stays about thirty times below it
IMAGES = 4
STAGES = ("stem", "layer1", "layer2", "layer3", "layer4", "attnpool")


@dataclass(frozen=True)
class ParityReport:
    """Differences between the two models.

    `stages` are relative differences (norm over norm) after each part of the image tower. `image` and `text` are the
    largest absolute differences in any component of the unit-length embeddings.
    """

    stages: dict[str, float]
    image: float
    text: float

    @property
    def passed(self) -> bool:
        """Whether the embeddings agree within the bound. NaN does not."""
        return max(self.image, self.text) <= BOUND

    def __str__(self) -> str:
        rows = [f"  {name:<18}{value:.1e} relative" for name, value in self.stages.items()]
        rows += [f"  {name:<18}{value:.1e}" for name, value in [("image embeddings", self.image), ("text", self.text)]]
        verdict = "within" if self.passed else "ABOVE"
        return "\n".join(["difference from open_clip, float32:", *rows, f"  {verdict} the bound of {BOUND:.0e}"])


def torch_model(config: CLIPConfig) -> Any:
    """open_clip's model of the same configuration, with random weights, in evaluation mode."""
    model = require("open_clip.model")
    vision = model.CLIPVisionCfg(
        layers=config.vision_layers, width=config.vision_width, image_size=config.image_size, patch_size=None
    )
    text = model.CLIPTextCfg(
        context_length=config.context_length,
        vocab_size=config.vocab_size,
        width=config.text_width,
        heads=config.text_heads,
        layers=config.text_layers,
    )
    return model.CLIP(config.embed_dim, vision, text, quick_gelu=config.quick_gelu).eval()


def verify(state: Mapping[str, np.ndarray], config: CLIPConfig, variables: Variables) -> ParityReport:
    """Compare open_clip with the torch `state` and ``CLIP(config)`` with `variables`, on fixed images and texts."""
    torch = require("torch")
    reference = torch_model(config)
    wanted = reference.state_dict().keys()
    reference.load_state_dict({key: torch.from_numpy(np.array(v)) for key, v in state.items() if key in wanted})
    images = _images(config.image_size)
    ids = tokenize([sentence for (sentence,) in prompts(DIOR_CLASSES)], config.context_length)
    with torch.inference_mode():
        features = reference.visual.forward_intermediates(torch.from_numpy(images).permute(0, 3, 1, 2).contiguous())
        maps = [m.permute(0, 2, 3, 1).numpy() for m in features["image_intermediates"]]
        expected = [*maps, features["image_features"].numpy()]
        expected_text = reference.encode_text(torch.from_numpy(ids).long()).numpy()

    clip = CLIP(config)
    with jax.default_matmul_precision(EXACT):
        ours = jax.jit(partial(clip.apply, method="features"))(variables, images)
        found_text = np.asarray(jax.jit(partial(clip.apply, method="encode_text"))(variables, ids))
    found = [np.asarray(ours[name]) for name in ("stem", "c2", "c3", "c4", "c5", "embedding")]
    stages = zip(STAGES, found, expected, strict=True)
    return ParityReport(
        stages={name: float(np.linalg.norm(a - b) / np.linalg.norm(b)) for name, a, b in stages},
        image=float(np.abs(_unit(found[-1]) - _unit(expected[-1])).max()),
        text=float(np.abs(_unit(found_text) - _unit(expected_text)).max()),
    )


def _images(size: int) -> Float32[np.ndarray, "n {size} {size} 3"]:
    """Coarse patches with fine noise, so that every stage of the tower sees structure at its scale. Always the same."""
    rng = np.random.default_rng(0)
    patches = rng.integers(0, 256, (IMAGES, 8, 8, 3)).repeat(size // 8, 1).repeat(size // 8, 2)
    return normalise((patches + rng.integers(-30, 31, patches.shape)).clip(0, 255).astype(np.uint8))


def _unit(x: Float32[np.ndarray, "n d"]) -> Float32[np.ndarray, "n d"]:
    return x / np.linalg.norm(x, axis=-1, keepdims=True)
