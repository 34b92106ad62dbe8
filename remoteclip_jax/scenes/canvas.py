"""Rasterization: polygons and their shadows on a supersampled canvas, then texture, haze and sensor noise."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw, ImageFilter

from remoteclip_jax.scenes.noise import fractal_noise, upscale
from remoteclip_jax.scenes.shapes import Part, Points


@dataclass(frozen=True)
class ImagingConditions:
    """Sun, atmosphere and sensor of one image.

    `shadow_offset` is how far a shadow falls on the ground, in x and y, per unit of height.
    """

    shadow_offset: tuple[float, float]
    shadow_strength: float
    haze: float
    haze_colour: tuple[float, float, float]
    gain: tuple[float, float, float]
    noise_std: float
    blur: float

    @staticmethod
    def sample(rng: np.random.Generator) -> "ImagingConditions":
        """A random position of the sun, colour cast, haze, noise and blur."""
        u = rng.uniform
        direction, length = u(0, 2 * np.pi), u(0.35, 1.3)
        exposure = float(np.exp(rng.normal(0, 0.1)))
        cast = np.exp(rng.normal(0, 0.035, 3)) * exposure
        grey = u(0.6, 0.85)
        return ImagingConditions(
            shadow_offset=(float(np.cos(direction) * length), float(np.sin(direction) * length)),
            shadow_strength=u(0.35, 0.68),
            haze=float(u(0.0, 1.0) ** 2 * 0.32),
            haze_colour=(grey * u(0.9, 1.0), grey * u(0.95, 1.0), grey),
            gain=(float(cast[0]), float(cast[1]), float(cast[2])),
            noise_std=u(1.5, 5.0),
            blur=u(0.0, 0.65),
        )


def swept_polygon(points: Points, dx: float, dy: float) -> list[float]:
    """The area that a convex polygon sweeps when moved by (dx, dy): the shadow of a prism.

    Returns the corners as a flat list x, y, x, y, …
    """
    corners = points.tolist()  # plain numbers are faster than arrays for so few corners
    px, py = corners[-1]
    double_area, faces = 0.0, []
    for x, y in corners:
        double_area += px * y - x * py
        faces.append((y - py) * dx - (x - px) * dy)  # of the edge that ends at (x, y)
        px, py = x, y
    sign = 1.0 if double_area > 0 else -1.0
    swept: list[float] = []
    n = len(corners)
    for i, (x, y) in enumerate(corners):
        # Whether the edges before and after the corner face the direction of movement.
        before, after = faces[i] * sign > 0, faces[(i + 1) % n] * sign > 0
        if before:
            swept += (x + dx, y + dy)
        if before != after:
            swept += (x, y)
            if after:
                swept += (x + dx, y + dy)
        elif not after:
            swept += (x, y)
    return swept


class Canvas:
    """A square canvas in unit coordinates. Its fourth channel holds the roughness of the surfaces."""

    def __init__(self, size: int, conditions: ImagingConditions) -> None:
        self.size, self.conditions = size, conditions
        # Small images get more samples per pixel: their smallest objects are four pixels long.
        self.supersample = 2 if size >= 600 else 3 if size >= 200 else 4
        self.side = size * self.supersample
        # CMYK is the mode whose fourth channel is not opacity, so that drawing neither blends nor premultiplies.
        self.image = Image.new("CMYK", (self.side, self.side))
        self.shadows = Image.new("L", (self.side, self.side))
        self._draw_image, self._draw_shadows = ImageDraw.Draw(self.image), ImageDraw.Draw(self.shadows)

    def fill_background(self, cells: UInt8[np.ndarray, "n n 4"]) -> None:
        """Fill the whole canvas with a coarse image (RGB and roughness), scaled up."""
        image = Image.merge("CMYK", [Image.fromarray(np.ascontiguousarray(cells[..., i])) for i in range(4)])
        half = image.resize((self.side // 2, self.side // 2), Image.Resampling.BILINEAR)
        self.image.paste(half.resize((self.side, self.side), Image.Resampling.NEAREST))

    def paint(self, parts: Iterable[Part]) -> None:
        """Paint parts in order. The shadow of a part falls on what was painted before, never on the part itself."""
        sx, sy = self.conditions.shadow_offset
        side = self.side
        for part in parts:
            corners = (part.points * side).ravel().tolist()
            if part.height > 0:
                foot = part.points  # the shadow of the lower end
                if part.base_height:
                    foot = foot + np.array((sx * part.base_height, sy * part.base_height))
                shadow = swept_polygon(foot * side, sx * part.height * side, sy * part.height * side)
                self._draw_shadows.polygon(shadow, fill=255)
            if part.height > 0 or part.solid:
                self._draw_shadows.polygon(corners, fill=0)
            self._draw_image.polygon(corners, fill=(*part.colour, part.roughness))

    def to_image(self, rng: np.random.Generator) -> UInt8[np.ndarray, "size size 3"]:
        """The RGB image at its final size, with texture, shadows, haze, colour cast and sensor noise."""
        size, conditions = self.size, self.conditions
        channels = np.asarray(self.image.reduce(self.supersample))
        rgb = channels[..., :3].astype(np.float32)
        roughness = channels[..., 3].astype(np.float32) * np.float32(1 / 255)
        shadows = self.shadows.reduce(self.supersample).filter(ImageFilter.BoxBlur(size / 1200))
        # Texture at three scales: broad patches, clumps, and grains of two pixels at the default image size of 800.
        m = min(size, 420)
        texture = fractal_noise(rng, m, coarsest=24, octaves=3, gain=0.75) * np.float32(0.3)
        texture += rng.standard_normal((m, m), np.float32) * np.float32(0.26)
        patches = upscale(fractal_noise(rng, 96, coarsest=3, octaves=4), size)
        factor = upscale(texture, size) * roughness + patches * np.float32(0.09)
        factor += 1
        factor *= 1 - np.asarray(shadows, np.float32) * np.float32(conditions.shadow_strength / 255)
        tint = roughness * patches * np.float32(0.16)  # vegetation turns yellowish in patches
        rgb *= factor[..., None]
        rgb[..., 0] *= 1 + tint
        rgb[..., 2] *= 1 - tint
        transmission = 1 - conditions.haze
        for i in range(3):
            rgb[..., i] *= np.float32(conditions.gain[i] * transmission)
            rgb[..., i] += np.float32(conditions.haze_colour[i] * conditions.haze * 255)
        rgb += self._sensor_noise(rng)[..., None]
        image = Image.fromarray(np.clip(rgb, 0, 255).astype(np.uint8))
        if conditions.blur > 0.2:
            image = image.filter(ImageFilter.BoxBlur(conditions.blur * 0.8 * size / 800))
        return np.asarray(image)

    def _sensor_noise(self, rng: np.random.Generator) -> Float[np.ndarray, "size size"]:
        # One repeated tile: its period cannot be seen, and it saves half a million random numbers per image.
        tile = rng.standard_normal((257, 257), np.float32) * np.float32(self.conditions.noise_std)
        times = self.size // 257 + 1
        return np.tile(tile, (times, times))[: self.size, : self.size]
