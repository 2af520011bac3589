"""No shortcuts: no group of factors tells another, and no component of the random key is missing."""

from __future__ import annotations

import numpy as np
import pytest

from harness.data import catalogue, objects
from harness.data.objects import CLASSES
from harness.data.splits import SPLIT_IDS

COUNT = 500


def nuisances(name: str, split: str = "train", seed: int = 0, count: int = COUNT) -> dict[str, np.ndarray]:
    """Per group the drawn numbers of ``count`` samples, without rendering."""
    spec = catalogue.spec(f"objects/{name}", seed=seed)
    rows = []
    for index in range(count):
        of = objects.streams(spec, split, index)
        rows.append({g: of(g).random(3) for g in ("shape", "appearance", "pose", "light", "background", "texture")})
    return {group: np.array([row[group] for row in rows]) for group in rows[0]}


def explained(features: np.ndarray, targets: np.ndarray, penalty: float = 1.0) -> float:
    """Share of the variance of held-out ``targets`` that a ridge regression from ``features`` explains."""
    half = len(features) // 2
    x = (features - features[:half].mean(0)) / np.maximum(features[:half].std(0), 1e-9)
    y = targets - targets[:half].mean(0)
    weights = np.linalg.solve(x[:half].T @ x[:half] + penalty * np.eye(x.shape[1]), x[:half].T @ y[:half])
    return float(1 - ((y[half:] - x[half:] @ weights) ** 2).sum() / (y[half:] ** 2).sum())


def test_no_group_predicts_another() -> None:
    groups = nuisances("head")
    generator = np.random.default_rng(0)
    for cause in groups:
        for effect in groups:
            if cause == effect:
                continue
            powers = np.concatenate([groups[cause], groups[cause] ** 2, np.sin(2 * np.pi * groups[cause])], 1)
            chance = [explained(powers, generator.permutation(groups[effect])) for _ in range(99)]
            assert explained(powers, groups[effect]) <= np.quantile(chance, 0.99) + 0.02, (cause, effect)


@pytest.mark.parametrize("change", ["class", "split", "seed", "index"])
def test_every_part_of_the_address_matters(change: str) -> None:
    base = nuisances("car")
    if change == "index":
        other = {group: np.roll(values, 1, axis=0) for group, values in base.items()}
    elif change == "seed":
        other = nuisances("car", seed=1)
    else:
        other = nuisances("chair" if change == "class" else "car", "oracle" if change == "split" else "train")
    for group in base:
        correlation = np.corrcoef(base[group].ravel(), other[group].ravel())[0, 1]
        assert abs(correlation) < 0.1, group


def test_classes_and_splits_never_repeat_a_stream() -> None:
    first = set()
    for name in CLASSES:
        spec = catalogue.spec(f"objects/{name}")
        first |= {objects.streams(spec, split, 0)("shape").random() for split in SPLIT_IDS}
    assert len(first) == len(CLASSES) * len(SPLIT_IDS)


def test_the_border_ring_does_not_tell_the_pose() -> None:
    spec = catalogue.spec("objects/car", resolution=16)
    ring = np.ones((16, 16), bool)
    ring[1:-1, 1:-1] = False
    scenes = [objects.scenario(spec, "train", k) for k in range(240)]
    borders = np.array([scene.background[4::8, 4::8][ring].ravel() for scene in scenes])
    poses = np.array([[np.sin(scene.azimuth), np.cos(scene.azimuth)] for scene in scenes])
    assert explained(borders, poses, penalty=100.0) < 0.1
