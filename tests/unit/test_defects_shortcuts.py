"""No shortcut tells good from defective: neither places, nor global colour, nor what surrounds a defect."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from scipy.stats import rankdata

from harness.data import catalogue, defects
from harness.data.defects import Address

CATEGORIES = 6


def auroc(scores: np.ndarray, positive: np.ndarray) -> float:
    """Area under the ROC curve by ranks."""
    ranks, n = rankdata(scores), int(positive.sum())
    return float((ranks[positive].sum() - n * (n + 1) / 2) / (n * (len(positive) - n)))


@cache
def held_out(seed: int) -> dict[str, np.ndarray]:
    """The micro test split of the six default categories."""
    spec = catalogue.spec("defects", seed=seed)
    return defects.samples(spec, "test", 0, spec.splits["test"], ("image", "twin", "mask", "category", "defect"))


def colour_statistics(images: np.ndarray) -> np.ndarray:
    """Mean and standard deviation of every channel [N,6]."""
    pixels = images.reshape(len(images), -1, 3) / 255.0
    return np.concatenate([pixels.mean(1), pixels.std(1)], 1)


def classified(train: np.ndarray, truth: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Scores of a ridge classifier on the features, their products and the unit."""

    def lifted(x: np.ndarray) -> np.ndarray:
        x = (x - train.mean(0)) / train.std(0)
        i, j = np.triu_indices(x.shape[1])
        return np.concatenate([np.ones((len(x), 1)), x, x[:, i] * x[:, j]], 1)

    a = lifted(train)
    return lifted(test) @ np.linalg.solve(a.T @ a + np.eye(a.shape[1]), a.T @ (2.0 * truth - 1))


@pytest.mark.parametrize("field", ["image", "twin"])
def test_global_colour_does_not_tell_good_from_defective(field: str) -> None:
    one, other = held_out(1), held_out(2)
    truth, category = other["defect"] > 0, other["category"]
    scores = classified(colour_statistics(one[field]), one["defect"] > 0, colour_statistics(other[field]))
    found = [auroc(scores[category == k], truth[category == k]) for k in range(CATEGORIES)]
    assert np.mean(found) < 0.65
    assert auroc(scores, truth) < 0.65


def test_mean_colour_of_a_category_does_not_tell_either() -> None:
    """A Gaussian per category, fitted to the mean colours of good images."""
    one, other = held_out(1), held_out(2)
    found = []
    for k in range(CATEGORIES):
        good = colour_statistics(one["image"][(one["category"] == k) & (one["defect"] == 0)])[:, :3]
        own = other["category"] == k
        away = colour_statistics(other["image"][own])[:, :3] - good.mean(0)
        scores = (away @ np.linalg.inv(np.cov(good.T)) * away).sum(1)
        found.append(auroc(scores, other["defect"][own] > 0))
    assert np.mean(found) < 0.65


def places(split: str = "test", seed: int = 0, count: int = 600) -> np.ndarray:
    """What decides the places of defects [categories x kinds, count], without drawing."""
    spec = catalogue.spec("defects", seed=seed)
    return np.array(
        [
            [defects.stream(spec, Address(category, split, k, kind, kind), "defect").random() for k in range(count)]
            for category in range(CATEGORIES)
            for kind in range(1, len(defects.DEFECTS))
        ]
    )


def test_places_are_independent_across_categories_kinds_and_indices() -> None:
    drawn = places()
    between = np.corrcoef(drawn)[np.triu_indices(len(drawn), 1)]
    assert np.abs(between).mean() < 0.05
    assert np.abs(between).max() < 0.2  # 630 pairs of 600 numbers
    after = [np.corrcoef(row[:-1], row[1:])[0, 1] for row in drawn]
    assert np.abs(after).mean() < 0.05
    assert abs(np.corrcoef(drawn.ravel(), places(seed=1).ravel())[0, 1]) < 0.05
    assert abs(np.corrcoef(drawn.ravel(), places("val").ravel())[0, 1]) < 0.05


def test_places_of_drawn_masks_are_independent() -> None:
    """Centres of the masks of equal kind and index in two textures, which have no foreground to share."""
    spec = catalogue.spec("defects", tier="smoke", categories=3, splits={"test": 3 * (4 + 60)})
    record = defects.samples(spec, "test", 12, 180, ("category", "factors"))
    weave, grid = (record["factors"][record["category"] == k, -2:] for k in (0, 2))
    correlation = [np.corrcoef(weave[:, k], grid[:, k])[0, 1] for k in (0, 1)]
    assert np.abs(correlation).max() < 0.4  # 60 pairs: three standard errors
    assert not np.isclose(weave, grid).all(1).any()


def test_defects_are_found_everywhere() -> None:
    total = held_out(1)["mask"].astype(float).sum(0) + held_out(2)["mask"].sum(0)
    quarters = total.reshape(2, 32, 2, 32).sum((1, 3)).ravel() / total.sum()
    assert quarters.min() > 0.15


def test_surroundings_and_noise_of_a_defect_are_those_of_good_images() -> None:
    """Twins of defective images and good images: equal mean, spread and noise."""
    record = held_out(1)
    good = record["defect"] == 0
    for k in range(CATEGORIES):
        own = record["category"] == k
        clean, twins = (record["twin"][own & chosen] / 255.0 for chosen in (good, ~good))
        for measure in (
            lambda x: x.mean((1, 2, 3)),
            lambda x: x.std((1, 2, 3)),
            lambda x: np.abs(np.diff(x, n=2, axis=1)).mean((1, 2, 3)),
        ):
            a, b = measure(clean), measure(twins)
            assert abs(a.mean() - b.mean()) < 4 * np.sqrt(a.var() / len(a) + b.var() / len(b))


def test_patches_find_defects_as_well_as_intended() -> None:
    """Nearest neighbour of raw 8 x 8 patches: about 0.95, 0.8 and 0.65 at contrast 1, 0.5 and 0.25."""
    spec, record = catalogue.spec("defects"), held_out(1)
    train = defects.samples(spec, "train", 0, 12 * CATEGORIES, ("image", "category"))
    found: dict[float, list[float]] = {1.0: [], 0.5: [], 0.25: []}
    for k in range(CATEGORIES):
        memory = patches(train["image"][train["category"] == k].astype(np.float32)).reshape(-1, 192)
        own = record["category"] == k
        truth, twin = record["defect"][own] > 0, record["twin"][own].astype(np.float32)
        for contrast, values in found.items():
            images = np.rint(twin + (record["image"][own] - twin) * np.float32(contrast))
            values.append(auroc(np.array([farthest(one, memory) for one in patches(images)]), truth))
    assert 0.87 < np.mean(found[1.0]) < 0.98
    assert 0.75 < np.mean(found[0.5]) < 0.88
    assert 0.60 < np.mean(found[0.25]) < 0.74


def patches(images: np.ndarray) -> np.ndarray:
    """Patches of 8 x 8 pixels at every fourth pixel [N,P,192] in [0,1]."""
    windows = np.lib.stride_tricks.sliding_window_view(images / np.float32(255), (8, 8), axis=(1, 2))[:, ::4, ::4]
    return windows.reshape(len(images), -1, 192)


def farthest(query: np.ndarray, memory: np.ndarray) -> float:
    """The largest squared distance of a patch to its nearest neighbour."""
    products = query @ memory.T
    return float(((query**2).sum(1) + ((memory**2).sum(1) - 2 * products).min(1)).max())
