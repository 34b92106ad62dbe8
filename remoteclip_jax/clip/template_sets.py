"""Sets of prompt templates that published zero-shot accuracies were measured with.

- `remoteclip`: RemoteCLIP's own, "a satellite photo of {class name}" (Liu et al. 2024), with the article that
  RS-TransCLIP adds (github.com/elkhouryk/RS-TransCLIP, MIT licence), as in its embeddings of WHU-RS19.
- `openai-eurosat`, `openai-resisc45`: OpenAI's for these data sets, behind the figures in CLIP's paper (data/prompts.md
  of github.com/openai/CLIP, MIT licence).
- `rs106`: the 106 of RS-TransCLIP. These are the 105 of GeoRSCLIP (Zhang et al. 2024), OpenAI's for ImageNet as far as
  they can be said of a scene, for each of three kinds of image; and RemoteCLIP's.

They follow a pattern, and are made from it. Class names go in as `prompts.words` writes them.
"""

REMOTECLIP = ("a satellite photo of a {}.",)

_ARTICLES = ("", "a ", "the ")
_VIEWS = ("satellite imagery", "aerial imagery", "satellite photo", "aerial photo", "satellite view", "aerial view")

_KINDS = ("a remote sensing", "an aerial", "a satellite")
_QUALITIES = (
    *("low resolution", "bad", "cropped", "bright", "dark", "close-up", "black and white", "jpeg corrupted", "blurry"),
    "good",
)
_OBJECTS = ("hard to see ", "large ", "nice ", "small ", "weird ", "cool ")


def _of_kind(kind: str) -> list[str]:
    """GeoRSCLIP's templates for one kind of image, named with its article."""
    bare = kind.split(maxsplit=1)[1]
    return [
        f"{kind} image of many {{}}.",
        *(f"{kind} image of {article} {thing}{{}}." for thing in ("", *_OBJECTS) for article in ("a", "the")),
        *(f"a {quality} {bare} image of {article} {{}}." for quality in _QUALITIES for article in ("a", "the")),
    ]


TEMPLATE_SETS: dict[str, tuple[str, ...]] = {
    "remoteclip": REMOTECLIP,
    "openai-eurosat": tuple(f"a centered satellite photo of {article}{{}}." for article in _ARTICLES),
    "openai-resisc45": tuple(f"{view} of {article}{{}}." for article in _ARTICLES for view in _VIEWS),
    "rs106": (*(template for kind in _KINDS for template in _of_kind(kind)), *REMOTECLIP),
}
