"""Preprocessing against open_clip's evaluation transform, bit for bit."""

import jax
import numpy as np
import open_clip
import pytest
from PIL import Image

from remoteclip_jax.clip.preprocess import MEAN, STD, normalise, preprocess, resize_and_crop

SIZES = [(1, 1), (2, 3), (37, 501), (501, 37), (223, 225), (224, 224), (320, 320), (257, 640), (800, 800), (641, 359)]
MODES = ["RGB", "L", "LA", "P", "RGBA", "CMYK", "1", "YCbCr"]


def noise(size: tuple[int, int], mode: str, seed: int = 0) -> Image.Image:
    width, height = size
    image = Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 4), dtype=np.uint8), "RGBA")
    if mode == "CMYK":
        return Image.frombytes("CMYK", size, image.tobytes())
    return image.convert("RGB").quantize(17) if mode == "P" else image.convert(mode)


def reference(image: Image.Image, size: int) -> np.ndarray:
    return open_clip.image_transform(size, is_train=False)(image).permute(1, 2, 0).numpy()


@pytest.mark.parametrize("target", [224, 320])
@pytest.mark.parametrize("size", SIZES)
def test_every_size_equals_open_clip(size: tuple[int, int], target: int) -> None:
    image = noise(size, "RGB", seed=sum(size))
    np.testing.assert_array_equal(preprocess([image], target)[0], reference(image, target))


@pytest.mark.parametrize("target", [224, 320])
@pytest.mark.parametrize("mode", MODES)
def test_every_mode_equals_open_clip(mode: str, target: int) -> None:
    image = noise((301, 260), mode)
    assert image.mode == mode
    np.testing.assert_array_equal(preprocess([image], target)[0], reference(image, target))


def test_batch_is_float32_and_keeps_the_order() -> None:
    images = [noise((90, 60), "RGB", seed) for seed in range(3)]
    batch = preprocess(images, 64)
    assert batch.shape == (3, 64, 64, 3)
    assert batch.dtype == np.float32
    np.testing.assert_array_equal(batch[2], preprocess(images[2:], 64)[0])
    assert preprocess([], 64).shape == (0, 64, 64, 3)


def test_bytes_leave_the_host_and_the_device_normalises() -> None:
    image = noise((300, 200), "RGB")
    pixels = resize_and_crop(image, 224)
    assert pixels.dtype == np.uint8
    with jax.numpy_rank_promotion("raise"):
        on_device = jax.jit(normalise)(pixels[None])
    assert on_device.dtype == np.float32
    np.testing.assert_allclose(on_device[0], reference(image, 224), atol=1e-6, rtol=0)
    np.testing.assert_array_equal(normalise(pixels), preprocess([image], 224)[0])


def test_statistics_are_clips() -> None:
    assert MEAN.tolist() == np.float32(open_clip.OPENAI_DATASET_MEAN).tolist()
    assert STD.tolist() == np.float32(open_clip.OPENAI_DATASET_STD).tolist()


def test_an_image_without_pixels_is_refused() -> None:
    with pytest.raises(ValueError, match="0x5"):
        resize_and_crop(Image.new("RGB", (0, 5)), 224)
