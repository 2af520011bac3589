"""No shortcut labels a street: places alone are not enough, and what is drawn apart is independent."""

from __future__ import annotations

from functools import cache

import numpy as np

from harness.data import catalogue, streets
from harness.data.streets import CLASSES, GROUP_IDS, IGNORE, Address

COUNT = 48


@cache
def drawn(split: str) -> dict[str, np.ndarray]:
    spec = catalogue.spec("streets", tier="smoke", resolution=24, splits={"labelled": COUNT, "test": COUNT})
    return streets.samples(spec, split, 0, COUNT, ("image", "label", "factors"))


def miou(predicted: np.ndarray, truth: np.ndarray) -> float:
    known = truth != IGNORE
    pairs = np.bincount(truth[known].astype(int) * len(CLASSES) + predicted[known], minlength=len(CLASSES) ** 2)
    matrix = pairs.reshape(len(CLASSES), -1)
    hits = np.diag(matrix)
    return float((hits / (matrix.sum(0) + matrix.sum(1) - hits)).mean())


def test_a_position_says_little() -> None:
    """The most frequent class at every pixel of the labelled split."""
    train, truth = drawn("labelled")["label"], drawn("test")["label"]
    counts = np.stack([(train == number).sum(0) for number in range(len(CLASSES))])
    predicted = np.broadcast_to(counts.argmax(0), truth.shape)
    assert miou(predicted, truth) < 0.45
    assert miou(truth.clip(0, len(CLASSES) - 1), truth) == 1


def test_a_colour_says_little() -> None:
    """The most frequent class of every colour, four levels per channel."""
    train, test = drawn("labelled"), drawn("test")

    def bins(images: np.ndarray) -> np.ndarray:
        return (images // 64).astype(int) @ np.array([16, 4, 1])

    counts = np.zeros((64, len(CLASSES)))
    known = train["label"] != IGNORE
    np.add.at(counts, (bins(train["image"])[known], train["label"][known]), 1)
    assert miou(counts.argmax(1)[bins(test["image"])], test["label"]) < 0.45


def test_things_are_found_on_both_sides() -> None:
    for name in ("sign", "person", "car", "vegetation", "building"):
        shown = drawn("test")["label"] == CLASSES.index(name)
        left = shown[:, :, :24].sum() / shown.sum()
        assert 0.3 < left < 0.7


def uniform(place: str, group: str, count: int = 400, seed: int = 0) -> np.ndarray:
    return np.array([streets.stream(Address(seed, 1, place, k), group).random() for k in range(count)])  # type: ignore[arg-type]


def test_groups_lists_and_indices_are_independent() -> None:
    columns = [uniform(place, group) for place in ("source", "target_test", "ssl_train") for group in GROUP_IDS]
    between = np.corrcoef(columns)[np.triu_indices(len(columns), 1)]
    assert np.abs(between).mean() < 0.05
    assert np.abs(between).max() < 0.22  # 351 pairs of 400 numbers
    assert max(abs(np.corrcoef(column[:-1], column[1:])[0, 1]) for column in columns) < 0.2


def test_the_light_does_not_tell_the_layout() -> None:
    """Correlations of factors from different streams over 96 scenes: four standard errors."""
    factors = np.concatenate([drawn("labelled")["factors"], drawn("test")["factors"]])[:, :-1]
    streams = np.array([0, 1, 1, 2, 2, 2, 2, 3, 3])  # street; people and cars, which share the road; camera; light
    matrix = np.corrcoef(factors.T)
    apart = (streams[:, None] != streams[None]) & ~((streams[:, None] < 2) & (streams[None] < 2))
    assert np.abs(matrix[apart]).max() < 4 / np.sqrt(len(factors))
