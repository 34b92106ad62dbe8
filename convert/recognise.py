"""What a checkpoint is that holds something else than a ResNet CLIP, for which a list of keys would user_message nothing."""

import re
from collections.abc import Iterable

# The first that has a key for each of its patterns (matched from a key's beginning) is it.
_KINDS: tuple[tuple[tuple[str, ...], str], ...] = (
    ((r".*(lora_|\.lora\b|adapter_)",), "LoRA adapters, mere changes to other weights, which they must be merged with"),
    (("text_decoder\\.",), "a CoCa, with a text decoder"),
    (("(vision_model|text_model)\\.", "logit_bias$"), "a SigLIP as Hugging Face stores it"),
    (("(vision_model|text_model)\\.",), "a CLIP with a ViT as Hugging Face stores it"),
    (("logit_bias$", r"visual\.trunk\."), "a SigLIP"),
    ((r"visual\.trunk\.stages\.\d+\.blocks\.\d+\.(conv_dw|gamma)",), "a CLIP with a ConvNeXt"),
    ((r"visual\.trunk\.",), "a CLIP with an image tower of timm"),
    ((r"visual\.(proj|class_embedding)$",), "a CLIP with a ViT"),
    ((r"text\.transformer\.(embeddings|encoder|encoder_layers|shared)\b",), "a CLIP with a Hugging Face text tower"),
    ((r"visual\.layer1\.", r"text\."), "a CLIP of open_clip's layout with a custom text tower"),
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
    """What the checkpoint with these keys is, in words; None for a ResNet CLIP, and for what is not known at all."""
    keys = list(keys)
    for patterns, name in _KINDS:
        if all(any(re.match(pattern, key) for key in keys) for pattern in patterns):
            return name
    return None
