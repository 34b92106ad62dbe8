"""What each image shows: a cycle of 100 recipes, 20 classes x 5 tiers, with the statistics of real annotations.

The recipes are stratified, because independent sampling would need thousands of images before the quantiles of sizes
and counts settle. In every block of 20 images each class is the main class once, and each tier, from one large object
to a crowd, occurs four times. A recipe depends only on (seed, split, index).
"""

from dataclasses import dataclass

import numpy as np

SPLITS = ("train", "val", "test")
# Where the splits begin in the cycle: at the default sizes, 70/15/15, they share one complete cycle.
SPLIT_OFFSETS = {"train": 0, "val": 70, "test": 85}

GroupSpec = tuple[str, int, float, float]

# Main class → five tiers of (class, count, smallest size, largest size); a size is sqrt(w·h) over the image's side.
# Class frequencies differ from the real ones where one class would dominate: none has a quarter of the boxes. Crowds
# mix classes, so that the lighting and background of one image do not belong to a single class.
RECIPES: dict[str, tuple[tuple[GroupSpec, ...], ...]] = {
    "airplane": (
        (("airplane", 1, 0.16, 0.26),),
        (("airplane", 3, 0.12, 0.15),),
        (("airplane", 6, 0.07, 0.09),),
        (("airplane", 9, 0.052, 0.066), ("vehicle", 1, 0.02, 0.024)),
        (("airplane", 14, 0.034, 0.041), ("storagetank", 5, 0.025, 0.032)),
    ),
    "airport": (
        (("airport", 1, 0.42, 0.52),),
        (("airport", 1, 0.54, 0.66),),
        (("airport", 1, 0.5, 0.6), ("airplane", 2, 0.03, 0.036)),
        (("airport", 1, 0.55, 0.65), ("airplane", 4, 0.026, 0.03)),
        (("airport", 1, 0.6, 0.68), ("airplane", 6, 0.022, 0.026)),
    ),
    "baseballfield": (
        (("baseballfield", 1, 0.2, 0.31),),
        (("baseballfield", 2, 0.13, 0.18),),
        (("baseballfield", 2, 0.13, 0.17), ("tenniscourt", 1, 0.1, 0.14)),
        (("baseballfield", 2, 0.14, 0.17), ("tenniscourt", 2, 0.08, 0.1), ("vehicle", 1, 0.02, 0.025)),
        (("baseballfield", 3, 0.12, 0.15), ("tenniscourt", 4, 0.07, 0.09)),
    ),
    "basketballcourt": (
        (("basketballcourt", 1, 0.22, 0.3),),
        (("basketballcourt", 1, 0.27, 0.34),),
        (("basketballcourt", 3, 0.13, 0.17),),
        (("basketballcourt", 1, 0.17, 0.22), ("tenniscourt", 3, 0.14, 0.17)),
        (("basketballcourt", 2, 0.12, 0.14), ("tenniscourt", 5, 0.11, 0.13)),
    ),
    "bridge": (
        (("bridge", 1, 0.44, 0.52),),
        (("bridge", 1, 0.36, 0.44),),
        (("bridge", 1, 0.2, 0.28), ("ship", 1, 0.045, 0.07)),
        (("bridge", 1, 0.26, 0.34), ("vehicle", 2, 0.024, 0.03)),
        (("bridge", 1, 0.3, 0.38), ("ship", 6, 0.028, 0.036)),
    ),
    "chimney": (
        (("chimney", 1, 0.38, 0.48),),
        (("chimney", 1, 0.24, 0.32),),
        (("chimney", 2, 0.15, 0.2),),
        (("chimney", 1, 0.28, 0.35), ("storagetank", 2, 0.1, 0.14)),
        (("chimney", 2, 0.12, 0.15), ("storagetank", 6, 0.05, 0.065)),
    ),
    "dam": (
        (("dam", 1, 0.4, 0.48),),
        (("dam", 1, 0.44, 0.52),),
        (("dam", 1, 0.34, 0.4),),
        (("dam", 1, 0.34, 0.4), ("vehicle", 1, 0.02, 0.03)),
        (("dam", 1, 0.35, 0.4), ("vehicle", 2, 0.015, 0.02)),
    ),
    "Expressway-Service-area": (
        (("Expressway-Service-area", 1, 0.52, 0.66),),
        (("Expressway-Service-area", 1, 0.42, 0.5), ("vehicle", 1, 0.035, 0.045)),
        (("Expressway-Service-area", 1, 0.42, 0.5), ("vehicle", 2, 0.03, 0.04)),
        (("Expressway-Service-area", 1, 0.44, 0.52), ("vehicle", 5, 0.024, 0.03)),
        (("Expressway-Service-area", 2, 0.34, 0.42), ("vehicle", 8, 0.019, 0.022)),
    ),
    "Expressway-toll-station": (
        (("Expressway-toll-station", 1, 0.15, 0.21),),
        (("Expressway-toll-station", 1, 0.07, 0.14),),
        (("Expressway-toll-station", 1, 0.1, 0.14), ("vehicle", 2, 0.03, 0.045)),
        (("Expressway-toll-station", 1, 0.1, 0.14), ("vehicle", 6, 0.024, 0.03)),
        (("Expressway-toll-station", 1, 0.1, 0.13), ("vehicle", 11, 0.0135, 0.016)),
    ),
    "golffield": (
        (("golffield", 1, 0.42, 0.5),),
        (("golffield", 1, 0.64, 0.76),),
        (("golffield", 1, 0.5, 0.56), ("tenniscourt", 1, 0.09, 0.12)),
        (("golffield", 1, 0.48, 0.56),),
        (("golffield", 1, 0.4, 0.46), ("tenniscourt", 2, 0.07, 0.09)),
    ),
    "groundtrackfield": (
        (("groundtrackfield", 1, 0.56, 0.66),),
        (("groundtrackfield", 1, 0.44, 0.52),),
        (("groundtrackfield", 1, 0.5, 0.58), ("baseballfield", 1, 0.16, 0.2)),
        (("groundtrackfield", 1, 0.3, 0.38), ("basketballcourt", 2, 0.11, 0.13)),
        (("groundtrackfield", 1, 0.28, 0.34), ("baseballfield", 1, 0.12, 0.15), ("tenniscourt", 6, 0.1, 0.115)),
    ),
    "harbor": (
        (("harbor", 1, 0.36, 0.5),),
        (("harbor", 1, 0.22, 0.28), ("ship", 1, 0.06, 0.08)),
        (("harbor", 1, 0.24, 0.3), ("ship", 6, 0.05, 0.06)),
        (("harbor", 2, 0.2, 0.26), ("ship", 8, 0.04, 0.048)),
        (("harbor", 2, 0.22, 0.27), ("ship", 11, 0.03, 0.036), ("storagetank", 6, 0.028, 0.034)),
    ),
    "overpass": (
        (("overpass", 1, 0.42, 0.54),),
        (("overpass", 1, 0.28, 0.36),),
        (("overpass", 1, 0.26, 0.34), ("vehicle", 2, 0.045, 0.055)),
        (("overpass", 1, 0.2, 0.26), ("vehicle", 4, 0.035, 0.042)),
        (("overpass", 1, 0.22, 0.27), ("vehicle", 6, 0.026, 0.033)),
    ),
    "ship": (
        (("ship", 1, 0.3, 0.45),),
        (("ship", 3, 0.09, 0.12),),
        (("ship", 5, 0.05, 0.062),),
        (("ship", 9, 0.0165, 0.0205), ("windmill", 6, 0.0165, 0.0205)),
        (
            ("harbor", 4, 0.16, 0.22),
            ("ship", 23, 0.0252, 0.0292),
            ("vehicle", 3, 0.0165, 0.0195),
            ("windmill", 7, 0.0165, 0.0195),
            ("storagetank", 7, 0.034, 0.041),
            ("tenniscourt", 5, 0.035, 0.045),
        ),
    ),
    "stadium": (
        (("stadium", 1, 0.64, 0.74),),
        (("stadium", 1, 0.5, 0.6),),
        (("stadium", 1, 0.4, 0.48),),
        (("stadium", 1, 0.4, 0.5), ("groundtrackfield", 1, 0.24, 0.3)),
        (("stadium", 1, 0.32, 0.4), ("groundtrackfield", 1, 0.24, 0.3), ("basketballcourt", 1, 0.1, 0.12)),
    ),
    "storagetank": (
        (("storagetank", 1, 0.18, 0.26),),
        (("storagetank", 2, 0.13, 0.19),),
        (("storagetank", 7, 0.1, 0.12),),
        (("storagetank", 10, 0.05, 0.062),),
        (("storagetank", 22, 0.0212, 0.025), ("vehicle", 2, 0.0185, 0.021), ("windmill", 8, 0.021, 0.025)),
    ),
    "tenniscourt": (
        (("tenniscourt", 1, 0.2, 0.27),),
        (("tenniscourt", 3, 0.17, 0.2),),
        (("tenniscourt", 4, 0.15, 0.18),),
        (("tenniscourt", 7, 0.115, 0.135),),
        (("tenniscourt", 14, 0.098, 0.115),),
    ),
    "trainstation": (
        (("trainstation", 1, 0.42, 0.5),),
        (("trainstation", 1, 0.28, 0.36),),
        (("trainstation", 1, 0.15, 0.2),),
        (("trainstation", 1, 0.24, 0.3), ("vehicle", 2, 0.02, 0.024)),
        (("trainstation", 1, 0.34, 0.42), ("vehicle", 3, 0.019, 0.022)),
    ),
    "vehicle": (
        (("vehicle", 1, 0.08, 0.11),),
        (("vehicle", 3, 0.06, 0.075),),
        (("vehicle", 4, 0.045, 0.06),),
        (("vehicle", 8, 0.043, 0.052),),
        (("vehicle", 12, 0.0128, 0.0145),),
    ),
    "windmill": (
        (("windmill", 1, 0.16, 0.24),),
        (("windmill", 3, 0.08, 0.11),),
        (("windmill", 7, 0.037, 0.045),),
        (("windmill", 11, 0.028, 0.034),),
        (("windmill", 16, 0.0132, 0.0152), ("storagetank", 9, 0.0132, 0.0155)),
    ),
}


@dataclass(frozen=True)
class ObjectGroup:
    """`count` objects of one class; `size` is about sqrt(w·h) of each, relative to the image's side."""

    class_name: str
    count: int
    size: float


@dataclass(frozen=True)
class Recipe:
    """The annotated objects of one image; `tier` is from 0 (mostly one large object) to 4 (mostly a crowd)."""

    main_class: str
    tier: int
    groups: tuple[ObjectGroup, ...]


def _permutation(*key: int, n: int) -> np.ndarray:
    # A permutation of range(n) that depends only on `key`.
    return np.random.default_rng(key).permutation(n)


def image_recipe(seed: int, split: str, index: int) -> Recipe:
    """The recipe of image `index` of a split."""
    position = SPLIT_OFFSETS[split] + index
    cycle, within_cycle = divmod(position, 100)
    block, slot = divmod(within_cycle, 20)
    classes = tuple(RECIPES)
    c = int(_permutation(seed, 1, cycle, block, n=20)[slot])
    # Each class has each tier once in a cycle, and each block of 20 has every tier from four classes.
    order = _permutation(seed, 2, cycle, n=20)
    tier = int((block + order[c]) % 5)
    rng = np.random.default_rng((seed, 3, SPLITS.index(split), index))
    groups = []
    count_factor = 1.0
    if (classes[c], tier) == ("ship", 4):  # a crowded port once in a cycle, rarely a very crowded one
        count_factor = 1.0 + 1.2 * float(rng.random()) ** 4
    for class_name, count, low, high in RECIPES[classes[c]][tier]:
        size = low * (high / low) ** float(rng.random())
        groups.append(ObjectGroup(class_name, round(count * count_factor), size))
    return Recipe(classes[c], tier, tuple(groups))
