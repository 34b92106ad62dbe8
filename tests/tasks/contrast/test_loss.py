"""The loss of `contrast` against open_clip's, on one, two and four devices."""

import pickle
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from open_clip.loss import ClipLoss

from remoteclip_jax.clip.model import init
from remoteclip_jax.runtime.devices import AXIS
from remoteclip_jax.tasks.contrast.loss import info_nce
from tests.command import run
from tests.tasks.contrast.small_problem import SHAPE, assert_close, batch, config, double, step_on

N, D, LOG_SCALE = 8, 16, np.log(1 / 0.07)
TWICE = {  # which rows show one image
    "no image twice": range(N),
    "on one device": [0, 0, 1, 2, 3, 4, 5, 6],
    "on two devices": [0, 1, 2, 3, 0, 4, 5, 3],
    "three times": [5, 1, 5, 2, 3, 4, 6, 5],
}


def embeddings(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    images, texts = rng.normal(size=(2, N, D))
    texts += images  # a pair is alike, more or less
    return images / np.linalg.norm(images, axis=-1, keepdims=True), texts / np.linalg.norm(
        texts, axis=-1, keepdims=True
    )


def ours(devices: int | None, identity: Any) -> tuple[Any, ...]:
    """The loss and its gradients: averaged over devices where `devices` says how many, as the training step does."""
    axis_name = AXIS if devices else None

    def loss(images: Any, texts: Any, log_scale: Any, identity: Any) -> Any:
        return info_nce(images, texts, jnp.exp(log_scale), identity, axis_name)

    def with_gradients(*arguments: Any) -> Any:
        return jax.value_and_grad(loss, (0, 1, 2))(*arguments)

    images, texts = embeddings()
    arguments = (images, texts, np.float64(LOG_SCALE), np.asarray(identity, np.int32))
    with jax.enable_x64(True):
        if devices is None:
            value, gradients = jax.jit(with_gradients)(*arguments)
            return np.asarray(value), *map(np.asarray, gradients)
        mapped = jax.pmap(with_gradients, AXIS, in_axes=(0, 0, None, 0), devices=jax.local_devices()[:devices])
        split = (x.reshape(devices, -1, *x.shape[1:]) if x.ndim else x for x in arguments)
        value, (of_images, of_texts, of_scale) = jax.device_get(mapped(*split))
        # The gradient of the mean over the devices: a device's rows have theirs from all devices' losses.
        whole = [x.reshape(N, D) / devices for x in (of_images, of_texts)]
        return value.mean(), *whole, of_scale.mean()


def open_clips() -> tuple[Any, ...]:
    images, texts = (torch.from_numpy(x).requires_grad_() for x in embeddings())
    log_scale = torch.tensor(LOG_SCALE, dtype=torch.float64, requires_grad=True)
    loss = ClipLoss()(images, texts, log_scale.exp())
    loss.backward()
    return tuple(x.numpy() for x in (loss.detach(), images.grad, texts.grad, log_scale.grad))


def masked(identity: Any) -> tuple[Any, ...]:
    """In PyTorch, row by row: the negatives of a pair are the rows of other images."""
    images, texts = (torch.from_numpy(x).requires_grad_() for x in embeddings())
    log_scale = torch.tensor(LOG_SCALE, dtype=torch.float64, requires_grad=True)
    terms = []
    for i in range(N):
        columns = [j for j in range(N) if j == i or identity[j] != identity[i]]
        for row, others in ((images[i], texts[columns]), (texts[i], images[columns])):
            logits = log_scale.exp() * others @ row
            terms.append(torch.logsumexp(logits, 0) - logits[columns.index(i)])
    loss = torch.stack(terms).mean()
    loss.backward()
    return tuple(x.numpy() for x in (loss.detach(), images.grad, texts.grad, log_scale.grad))


def assert_equal(found: tuple[Any, ...], expected: tuple[Any, ...]) -> None:
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)


@pytest.fixture(scope="module")
def on_four(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a process with four devices computes."""
    path = tmp_path_factory.mktemp("four") / "results.pickle"
    program = "from pathlib import Path\nfrom tests.tasks.contrast import test_loss\ntest_loss.write(Path({!r}))"
    result = run("-c", program.format(str(path)), devices=4)
    assert result.returncode == 0, result.stderr[-2000:]
    results: dict[str, Any] = pickle.loads(path.read_bytes())
    return results


def write(path: Path) -> None:
    """Compute on four devices what the tests of this file compare."""
    results: dict[str, Any] = {name: ours(4, identity) for name, identity in TWICE.items()}
    results["step"] = training_step(4)
    path.write_bytes(pickle.dumps(results))


def training_step(devices: int) -> Any:
    """A step from random weights, with an image that is twice in the batch, at both its ends."""
    with jax.enable_x64(True):
        variables = double(init(SHAPE, jax.random.key(0)))
        return step_on(devices, config(), variables, batch(0, index=[0, 1, 2, 3, 4, 5, 6, 0]))


@pytest.mark.parametrize("devices", [None, 1, 2])
def test_open_clips_loss_and_gradients(devices: int | None) -> None:
    assert_equal(ours(devices, range(N)), open_clips())


def test_open_clips_loss_and_gradients_on_four_devices(on_four: dict[str, Any]) -> None:
    assert_equal(on_four["no image twice"], open_clips())


@pytest.mark.parametrize("case", [case for case in TWICE if case != "no image twice"])
def test_an_image_is_no_negative_of_itself(case: str, on_four: dict[str, Any]) -> None:
    expected = masked(TWICE[case])
    assert not np.allclose(expected[0], open_clips()[0])
    for devices in (None, 1, 2):
        assert_equal(ours(devices, TWICE[case]), expected)
    assert_equal(on_four[case], expected)


def test_a_training_step_is_the_same_on_any_number_of_devices(on_four: dict[str, Any]) -> None:
    """The metrics, among them loss and norm of the gradient, and the whole state: parameters, AdamW's moments (after
    the first step, the gradients), and the statistics of batch norm, which are those of the whole batch."""
    one = training_step(1)
    for other in (training_step(2), on_four["step"]):
        assert_close(other, one, 1e-9)
