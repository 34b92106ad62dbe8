"""What a checkpoint holds if it is not a ResNet CLIP. A list of unexpected keys would explain nothing to the user."""

import re
from collections.abc import Iterable

# (patterns, kind). A checkpoint is of the first kind whose patterns all match the beginning of some key.
_KINDS: tuple[tuple[tuple[str, ...], str], ...] = (
    ((r".*(lora_|\.lora\b|adapter_)",), "LoRA adapters, which must first be merged with the weights that they change"),
    (("text_decoder\\.",), "a CoCa, with a text decoder"),
    (("(vision_model|text_model)\\.", "logit_bias$"), "a SigLIP as Hugging Face stores it"),
    (("(vision_model|text_model)\\.",), "a CLIP with a ViT as Hugging Face stores it"),
    (("logit_bias$", r"visual\.trunk\."), "a SigLIP"),
    ((r"visual\.trunk\.stages\.\d+\.blocks\.\d+\.(conv_dw|gamma)",), "a CLIP with a ConvNeXt"),
    ((r"visual\.trunk\.",), "a CLIP with an image tower of timm"),
    ((r"visual\.(proj|class_embedding)$",), "a CLIP with a ViT"),
    ((r"text\.transformer\.(embeddings|encoder|encoder_layers|shared)\b",), "a CLIP with a Hugging Face text tower"),
    ((r"visual\.layer1\.", r"text\."), "a CLIP with a custom text tower, as open_clip stores it"),
    ((r"attnpool\.", r"layer1\."), "the image tower of a CLIP alone"),
    ((r"layer1\.0\.conv1\.weight$", r"fc\.weight$"), "a ResNet classifier, such as torchvision's for ImageNet"),
    ((r"((backbone|encoder|model|resnet)\.)?layer1\.0\.conv1\.weight$",), "a ResNet without a text tower"),
    (
        (r"(blocks\.0\.|cls_token$|class_token$|encoder\.layers\.encoder_layer_0\.)",),
        "a vision transformer without a text tower",
    ),
    ((r"(backbone|rpn|roi_heads|bbox_embed|model\.0\.conv)\.",), "a detector"),
)


def checkpoint_kind(keys: Iterable[str]) -> str | None:
    """The kind of a checkpoint with these keys, in words. None for a ResNet CLIP, and for an unknown kind."""
    keys = list(keys)
    for patterns, name in _KINDS:
        if all(any(re.match(pattern, key) for key in keys) for pattern in patterns):
            return name
    return None
