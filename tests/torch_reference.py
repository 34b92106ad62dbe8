"""PyTorch's side of the comparisons: open_clip models whose every tensor matters."""

from typing import Any

import torch
from open_clip.model import CLIP as TorchCLIP

from convert.from_torch import from_torch
from convert.verify import torch_model
from remoteclip_jax.clip.config import CLIPConfig
from remoteclip_jax.clip.model import Variables


def random_clip(config: CLIPConfig, seed: int) -> TorchCLIP:
    """open_clip's model of `config` in evaluation mode, with random weights and random BatchNorm statistics.

    Nothing is left at a value that could hide a mistake: scales are 0.5–1.5 (also the third norm of each block, which
    open_clip starts at zero), biases and running means are not zero, running variances are 0.5–1.5.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)  # the scales below are those of open_clip's initial weights
        model = torch_model(config)
    generator = torch.Generator().manual_seed(seed)

    def uniform(like: torch.Tensor) -> torch.Tensor:
        return torch.rand(like.shape, generator=generator) + 0.5

    def normal(like: torch.Tensor, std: float) -> torch.Tensor:
        return torch.randn(like.shape, generator=generator) * std

    with torch.no_grad():
        for name, p in model.named_parameters():
            if name == "logit_scale":
                continue
            if name.endswith("bias"):
                p.copy_(normal(p, 0.1))
            elif p.ndim == 1:
                p.copy_(uniform(p))
            elif p.ndim == 4:
                p.copy_(normal(p, (p[0].numel()) ** -0.5))
            else:
                p.copy_(normal(p, p.std().item()))  # open_clip's own scale, drawn again from the seed
        for name, buffer in model.named_buffers():
            if name.endswith("running_mean"):
                buffer.copy_(normal(buffer, 1.0))
            elif name.endswith("running_var"):
                buffer.copy_(uniform(buffer))
    return model.eval()


def flax_variables(model: Any) -> Variables:
    """The Flax variables with the weights of an open_clip `model`, in its precision."""
    return from_torch({k: v.detach().cpu().numpy() for k, v in model.state_dict().items()}, _config(model), "the model")


def _config(model: Any) -> CLIPConfig:
    visual, blocks = model.visual, model.transformer.resblocks
    layers = [len(getattr(visual, f"layer{i}")) for i in (1, 2, 3, 4)]
    return CLIPConfig(
        arch="reference",
        embed_dim=visual.output_dim,
        image_size=visual.image_size,
        vision_layers=(layers[0], layers[1], layers[2], layers[3]),
        vision_width=visual.conv3.weight.shape[0],
        context_length=model.context_length,
        vocab_size=model.vocab_size,
        text_width=model.positional_embedding.shape[1],
        text_heads=blocks[0].attn.num_heads,
        text_layers=len(blocks),
    )
