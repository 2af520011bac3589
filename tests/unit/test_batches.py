"""Resident batches: every image once per epoch, exact resumption, value range."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from harness.data.batches import ResidentBatches
from harness.types import DataError


def numbered(count: int) -> np.ndarray:
    """Images whose every byte is the image's number."""
    return np.repeat(np.arange(count, dtype=np.uint8), 2 * 2 * 3).reshape(count, 2, 2, 3)


def numbers(batch: dict[str, torch.Tensor]) -> list[int]:
    return [round(float(image[0, 0, 0] + 1) * 127.5) for image in batch["image"]]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_every_image_is_used_equally_often_across_epochs() -> None:
    batches = ResidentBatches(numbered(10), 4, generator())
    drawn = [number for _ in range(5) for number in numbers(batches.next())]
    assert sorted(drawn[:10]) == sorted(drawn[10:20]) == list(range(10))
    assert drawn[:10] != drawn[10:20]


def test_batches_larger_than_the_set_are_filled_from_the_next_epochs() -> None:
    drawn = numbers(ResidentBatches(numbered(3), 6, generator()).next())
    assert sorted(drawn) == [0, 0, 1, 1, 2, 2]


def test_values_cover_minus_one_to_one_in_channel_order() -> None:
    images = np.zeros((1, 2, 2, 3), np.uint8)
    images[..., 1] = 255
    image = ResidentBatches(images, 1, generator()).next()["image"]
    assert image.dtype == torch.float32
    assert image.shape == (1, 3, 2, 2)
    assert image[0, 0].unique().tolist() == [-1.0]
    assert image[0, 1].unique().tolist() == [1.0]


def test_channels_last_changes_the_layout_only() -> None:
    plain = ResidentBatches(numbered(9), 4, generator()).next()["image"]
    last = ResidentBatches(numbered(9), 4, generator(), channels_last=True).next()["image"]
    assert last.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(plain, last)


def test_a_state_resumes_at_the_exact_batch() -> None:
    batches = ResidentBatches(numbered(11), 4, generator())
    for _ in range(4):
        batches.next()
    state = batches.state_dict()
    expected = [numbers(batches.next()) for _ in range(6)]
    resumed = ResidentBatches(numbered(11), 4, generator(99))
    resumed.load_state_dict(state)
    assert [numbers(resumed.next()) for _ in range(6)] == expected


def test_a_state_is_not_changed_by_later_batches() -> None:
    batches = ResidentBatches(numbered(5), 2, generator())
    batches.next()
    state = batches.state_dict()
    before = state["order"].clone(), state["position"], state["generator"].clone()
    for _ in range(9):
        batches.next()
    assert torch.equal(before[0], state["order"])
    assert before[1] == state["position"]
    assert torch.equal(before[2], state["generator"])


@pytest.mark.parametrize(
    "images", [np.zeros((0, 4, 4, 3), np.uint8), np.zeros((2, 4, 4, 3), np.float32), np.zeros((2, 4, 4), np.uint8)]
)
def test_other_arrays_are_refused(images: np.ndarray) -> None:
    with pytest.raises(DataError, match="uint8"):
        ResidentBatches(images, 2, generator())


def test_a_state_of_another_set_is_refused() -> None:
    batches = ResidentBatches(numbered(5), 2, generator())
    batches.next()
    with pytest.raises(DataError, match="5 images, not 6"):
        ResidentBatches(numbered(6), 2, generator()).load_state_dict(batches.state_dict())
