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
    before = state["orders"][0].clone(), state["positions"][0], state["generator"].clone()
    for _ in range(9):
        batches.next()
    assert torch.equal(before[0], state["orders"][0])
    assert before[1] == state["positions"][0]
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


def test_rows_and_labels_belong_to_the_images() -> None:
    labels = {"category": np.arange(10, dtype=np.uint8) % 3}
    batch = ResidentBatches(numbered(10), 7, generator(), labels=labels).next()
    assert batch["index"].tolist() == numbers(batch)
    assert batch["category"].tolist() == [row % 3 for row in numbers(batch)]


def test_groups_take_turns_and_each_has_its_own_epochs() -> None:
    groups = np.array([4, 4, 7, 4, 7, 9])
    batches = ResidentBatches(numbered(6), 2, generator(), groups=groups)
    drawn = [numbers(batches.next()) for _ in range(9)]
    assert [{int(groups[row]) for row in rows} for rows in drawn] == [{4}, {7}, {9}] * 3
    assert sorted([*drawn[0], *drawn[3], *drawn[6]]) == [0, 0, 1, 1, 3, 3]
    assert [sorted(rows) for rows in drawn[1::3]] == [[2, 4]] * 3


def test_grouped_batches_resume_at_the_exact_batch() -> None:
    groups = np.array([0, 1, 0, 1, 0, 1, 1])
    batches = ResidentBatches(numbered(7), 2, generator(), groups=groups)
    for _ in range(3):
        batches.next()
    resumed = ResidentBatches(numbered(7), 2, generator(5), groups=groups)
    resumed.load_state_dict(batches.state_dict())
    assert [numbers(resumed.next()) for _ in range(6)] == [numbers(batches.next()) for _ in range(6)]
    with pytest.raises(DataError, match="not 7"):
        ResidentBatches(numbered(7), 2, generator()).load_state_dict(batches.state_dict())


@pytest.mark.parametrize("values", [np.zeros(3, np.int32), np.zeros(5, bool)])
def test_labels_of_another_shape_or_type_are_refused(values: np.ndarray) -> None:
    with pytest.raises(DataError, match="category"):
        ResidentBatches(numbered(5), 2, generator(), labels={"category": values})


def test_maps_of_real_numbers_come_as_float32() -> None:
    depth = np.linspace(0, 1, 5 * 4, dtype=np.float16).reshape(5, 4)
    batch = ResidentBatches(numbered(5), 2, generator(), labels={"depth": depth}).next()
    assert batch["depth"].dtype == torch.float32
    assert torch.equal(batch["depth"], torch.from_numpy(depth).float()[batch["index"]])
