"""The colours of one scene. They vary so widely between scenes that colour does not reveal the class."""

import colorsys

import numpy as np

from remoteclip_jax.scenes.shapes import Colour


def hsv_to_rgb(h: float, s: float, v: float) -> Colour:
    """Hue in turns (any real number), saturation and value in [0, 1] → 8-bit RGB."""
    r, g, b = colorsys.hsv_to_rgb(h % 1.0, min(max(s, 0.0), 1.0), min(max(v, 0.0), 1.0))
    return round(r * 255), round(g * 255), round(b * 255)


def shade(colour: Colour, factor: float) -> Colour:
    """The colour made lighter (factor above 1) or darker (below 1)."""
    r, g, b = (min(255, max(0, round(c * factor))) for c in colour)
    return r, g, b


def mix(a: Colour, b: Colour, t: float) -> Colour:
    """a·(1 − t) + b·t."""
    r, g, c = (round(x + (y - x) * t) for x, y in zip(a, b, strict=True))
    return r, g, c


class Palette:
    """The colours of one image's surfaces, sampled once, so that its roads, fields and waters match.

    `shadow_offset` is how far a shadow falls on the ground, in x and y, per unit of height.
    """

    def __init__(self, rng: np.random.Generator, shadow_offset: tuple[float, float]) -> None:
        self.rng, self.shadow_offset = rng, shadow_offset
        u = rng.uniform
        # The season: from lush green through straw to bare brown and grey.
        hue = u(0.07, 0.36)
        self.grass = hsv_to_rgb(hue, u(0.12, 0.5), u(0.25, 0.66))
        self.soil = hsv_to_rgb(u(0.03, 0.16), u(0.08, 0.45), u(0.3, 0.78))
        self.sand = hsv_to_rgb(u(0.06, 0.15), u(0.06, 0.34), u(0.55, 0.9))
        self.tree = hsv_to_rgb(hue + u(-0.05, 0.06), u(0.15, 0.5), u(0.14, 0.36))
        self.asphalt = hsv_to_rgb(u(0, 1), u(0.0, 0.08), u(0.22, 0.66))
        self.concrete = hsv_to_rgb(u(0.02, 0.2), u(0.0, 0.16), u(0.42, 0.86))
        # From black harbour water through blue and green to silty rivers as light as sand.
        self.water = hsv_to_rgb(u(0.08, 0.66), u(0.06, 0.42), u(0.24, 0.56))
        self.court = (self.paint(), self.paint())  # neighbouring courts share their two colours
        self.line = hsv_to_rgb(0.14, 0.0 if rng.random() < 0.8 else 0.5, u(0.78, 0.97))

    def turf(self) -> Colour:
        """A lawn, greener or drier than the land around it."""
        u = self.rng.uniform
        return mix(self.grass, hsv_to_rgb(u(0.08, 0.4), u(0.15, 0.55), u(0.28, 0.7)), u(0.3, 1.0))

    def paint(self) -> Colour:
        """A colour of painted things: often white, grey or black, sometimes a strong colour."""
        u = self.rng.uniform
        kind = self.rng.random()
        if kind < 0.3:
            return hsv_to_rgb(u(0, 1), u(0, 0.08), u(0.7, 0.98))
        if kind < 0.5:
            return hsv_to_rgb(u(0, 1), u(0, 0.12), u(0.1, 0.65))
        return hsv_to_rgb(u(0, 1), u(0.15, 0.75), u(0.25, 0.9))

    def roof(self) -> Colour:
        """The colour of a roof: tiles, metal, gravel or paint."""
        u = self.rng.uniform
        kind = self.rng.random()
        if kind < 0.3:
            return hsv_to_rgb(u(0.0, 0.09), u(0.2, 0.55), u(0.35, 0.75))
        if kind < 0.75:
            return hsv_to_rgb(u(0, 1), u(0, 0.12), u(0.3, 0.92))
        return hsv_to_rgb(u(0.48, 0.68), u(0.08, 0.42), u(0.3, 0.8))

    def crop(self) -> Colour:
        """The colour of a field: crops at any stage, ploughed soil or stubble."""
        u = self.rng.uniform
        base = (self.grass, self.soil, self.tree, self.sand)[self.rng.choice(4, p=(0.45, 0.3, 0.12, 0.13))]
        return shade(mix(base, hsv_to_rgb(u(0.06, 0.4), u(0.1, 0.5), u(0.25, 0.75)), u(0, 0.45)), u(0.8, 1.2))

    def pavement(self) -> Colour:
        """The colour of a paved or bare surface: concrete, asphalt, gravel or earth."""
        return (self.concrete, self.asphalt, self.soil, self.sand)[self.rng.choice(4, p=(0.4, 0.35, 0.15, 0.1))]
