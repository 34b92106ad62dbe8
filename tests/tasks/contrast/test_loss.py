"""The loss of `contrast` against open_clip's, on one, two and four devices."""

import pickle
from typing import Any

import numpy as np
import pytest
import torch
from open_clip.loss import ClipLoss

from tests.command import run
from tests.tasks.contrast.on_devices import LOG_SCALE, TWICE, N, embeddings, ours, training_step
from tests.tasks.contrast.small_problem import assert_close


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
    program = "from pathlib import Path\nfrom tests.tasks.contrast import on_devices\non_devices.write(Path({!r}))"
    result = run("-c", program.format(str(path)), devices=4)
    assert result.returncode == 0, result.stderr[-2000:]
    results: dict[str, Any] = pickle.loads(path.read_bytes())
    return results


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
