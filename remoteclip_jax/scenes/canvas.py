"""Painting parts: polygons on a supersampled canvas, shadows beside it, then texture, light, haze and sensor."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw, ImageFilter

from remoteclip_jax.scenes.noise import fractal, upscale
from remoteclip_jax.scenes.shapes import Part, Points


@dataclass(frozen=True)
class Light:
    """The sun and the air of one image. `shadow` is the ground displacement, x and y, per unit of height."""

    shadow: tuple[float, float]
    darkness: float
    haze: float
    haze_colour: tuple[float, float, float]
    gain: tuple[float, float, float]
    noise: float
    blur: float

    @staticmethod
    def draw(rng: np.random.Generator) -> "Light":
        """A sun anywhere in the sky, a colour cast, some haze, some noise."""
        u = rng.uniform
        towards, length = u(0, 2 * np.pi), u(0.35, 1.3)
        exposure = float(np.exp(rng.normal(0, 0.1)))
        cast = np.exp(rng.normal(0, 0.035, 3)) * exposure
        grey = u(0.6, 0.85)
        return Light(
            shadow=(float(np.cos(towards) * length), float(np.sin(towards) * length)),
            darkness=u(0.35, 0.68),
            haze=float(u(0.0, 1.0) ** 2 * 0.32),
            haze_colour=(grey * u(0.9, 1.0), grey * u(0.95, 1.0), grey),
            gain=(float(cast[0]), float(cast[1]), float(cast[2])),
            noise=u(1.5, 5.0),
            blur=u(0.0, 0.65),
        )


def swept(points: Points, dx: float, dy: float) -> list[float]:
    """The area that a convex polygon sweeps when moved by (dx, dy), as x, y, x, y …: the shadow of a prism."""
    corners = points.tolist()  # a handful of corners: plain numbers are faster than arrays here
    px, py = corners[-1]
    double_area, faces = 0.0, []
    for x, y in corners:
        double_area += px * y - x * py
        faces.append((y - py) * dx - (x - px) * dy)  # of the edge that ends here
        px, py = x, y
    sign = 1.0 if double_area > 0 else -1.0
    out: list[float] = []
    n = len(corners)
    for i, (x, y) in enumerate(corners):
        before, after = faces[i] * sign > 0, faces[(i + 1) % n] * sign > 0  # do these edges face along the movement?
        if before:
            out += (x + dx, y + dy)
        if before != after:
            out += (x, y)
            if after:
                out += (x + dx, y + dy)
        elif not after:
            out += (x, y)
    return out


class Canvas:
    """A square canvas in unit coordinates; its fourth channel holds the surfaces' roughness."""

    def __init__(self, size: int, light: Light) -> None:
        self.size, self.light = size, light
        # Small pictures get more samples a pixel: their smallest objects are four pixels long.
        self.supersample = 2 if size >= 600 else 3 if size >= 200 else 4
        self.side = size * self.supersample
        # CMYK is the four-channel mode whose fourth is no opacity: drawing neither blends nor premultiplies.
        self.image = Image.new("CMYK", (self.side, self.side))
        self.shade = Image.new("L", (self.side, self.side))
        self._image, self._shade = ImageDraw.Draw(self.image), ImageDraw.Draw(self.shade)

    def ground(self, cells: UInt8[np.ndarray, "n n 4"]) -> None:
        """Fill the whole canvas with a coarse picture (RGB and roughness), scaled up."""
        picture = Image.merge("CMYK", [Image.fromarray(np.ascontiguousarray(cells[..., i])) for i in range(4)])
        half = picture.resize((self.side // 2, self.side // 2), Image.Resampling.BILINEAR)
        self.image.paste(half.resize((self.side, self.side), Image.Resampling.NEAREST))

    def paint(self, parts: Iterable[Part]) -> None:
        """Draw parts in order; a part's shadow falls on what was there before, never on the part itself."""
        sx, sy = self.light.shadow
        side = self.side
        for p in parts:
            flat = (p.points * side).ravel().tolist()
            if p.height > 0:
                moved = p.points + np.array((sx * p.base, sy * p.base)) if p.base else p.points
                self._shade.polygon(swept(moved * side, sx * p.height * side, sy * p.height * side), fill=255)
            if p.height > 0 or p.solid:
                self._shade.polygon(flat, fill=0)
            self._image.polygon(flat, fill=(*p.colour, p.rough))

    def finish(self, rng: np.random.Generator) -> UInt8[np.ndarray, "size size 3"]:
        """The picture at its own size: texture, shadows, haze, cast and sensor noise."""
        size, light = self.size, self.light
        four = np.asarray(self.image.reduce(self.supersample))
        rgb = four[..., :3].astype(np.float32)
        rough = four[..., 3].astype(np.float32) * np.float32(1 / 255)
        shade = self.shade.reduce(self.supersample).filter(ImageFilter.BoxBlur(size / 1200))
        # Texture in three grains: broad patches, clumps, and grains of two pixels at the native size of 800.
        m = min(size, 420)
        texture = fractal(rng, m, coarsest=24, octaves=3, gain=0.75) * np.float32(0.3)
        texture += rng.standard_normal((m, m), np.float32) * np.float32(0.26)
        patches = upscale(fractal(rng, 96, coarsest=3, octaves=4), size)
        factor = upscale(texture, size) * rough + patches * np.float32(0.09)
        factor += 1
        factor *= 1 - np.asarray(shade, np.float32) * np.float32(light.darkness / 255)
        tint = rough * patches * np.float32(0.16)  # vegetation turns yellowish in patches
        rgb *= factor[..., None]
        rgb[..., 0] *= 1 + tint
        rgb[..., 2] *= 1 - tint
        keep = 1 - light.haze
        for i in range(3):
            rgb[..., i] *= np.float32(light.gain[i] * keep)
            rgb[..., i] += np.float32(light.haze_colour[i] * light.haze * 255)
        rgb += self._sensor(rng)[..., None]
        picture = Image.fromarray(np.clip(rgb, 0, 255).astype(np.uint8))
        if light.blur > 0.2:
            picture = picture.filter(ImageFilter.BoxBlur(light.blur * 0.8 * size / 800))
        return np.asarray(picture)

    def _sensor(self, rng: np.random.Generator) -> Float[np.ndarray, "size size"]:
        # A tile repeated with an offset: nobody sees the period, and a million random numbers are saved.
        tile = rng.standard_normal((257, 257), np.float32) * np.float32(self.light.noise)
        times = self.size // 257 + 1
        return np.tile(tile, (times, times))[: self.size, : self.size]
