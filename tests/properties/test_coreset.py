"""Greedy coresets against the plain algorithm."""

from __future__ import annotations

from itertools import pairwise
from unittest import mock

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from methods.patchcore import coreset
from methods.patchcore.coreset import greedy_coreset, random_projection


def plain(points: Tensor, count: int, start: int) -> tuple[list[int], list[float]]:
    """One pick after the other with all distances, and the distance each was picked at."""
    chosen, reached = [start], [float("inf")]
    nearest = (points - points[start]).square().sum(1)
    while len(chosen) < count:
        nearest[chosen] = -1.0
        chosen.append(int(nearest.argmax()))
        reached.append(float(nearest[chosen[-1]]))
        nearest = torch.minimum(nearest, (points - points[chosen[-1]]).square().sum(1))
    return chosen, reached


def radius(points: Tensor, picks: Tensor) -> float:
    return float(torch.cdist(points, points[picks]).amin(1).max())


def cloud(seed: int, n: int, d: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, d, generator=generator, dtype=torch.float64) * torch.rand(d, generator=generator)


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 10_000),
    n=st.integers(1, 120),
    d=st.integers(1, 9),
    share=st.floats(0, 1),
    candidates=st.sampled_from([1, 3, 10, 200]),
    picks=st.sampled_from([1, 4, 50]),
)
def test_delayed_updates_change_no_choice(seed: int, n: int, d: int, share: float, candidates: int, picks: int) -> None:
    points, count = cloud(seed, n, d), max(1, round(share * n))
    with mock.patch.multiple(coreset, CANDIDATES=candidates, PICKS=picks, ROWS=17):
        assert greedy_coreset(points, count, seed % n).tolist() == plain(points, count, seed % n)[0]


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 1000), n=st.integers(2, 60))
def test_the_radius_falls_to_zero_and_stays_within_twice_the_best(seed: int, n: int) -> None:
    points = cloud(seed, n, 3)
    order = greedy_coreset(points, n, 0)
    radii = [radius(points, order[:k]) for k in range(1, n + 1)]
    assert all(a >= b - 1e-12 for a, b in pairwise(radii))
    assert radii[-1] < 1e-6
    # k + 1 points with pairwise distances >= r prove that no k centres do better than r / 2 (Gonzalez 1985).
    for k in range(1, n):
        apart = torch.pdist(points[order[: k + 1]]).min()
        assert radii[k - 1] <= apart + 1e-9


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 1000), n=st.integers(1, 40), distinct=st.integers(1, 5))
def test_equal_points_are_never_picked_twice(seed: int, n: int, distinct: int) -> None:
    points = cloud(seed, distinct, 4)[torch.arange(n) % distinct]
    with mock.patch.multiple(coreset, CANDIDATES=7, PICKS=3):
        order = greedy_coreset(points, n, 0)
    assert sorted(order.tolist()) == list(range(n))
    first = order[: min(distinct, n)]
    assert len((first % distinct).unique()) == len(first)


def test_single_precision_chooses_like_double() -> None:
    points = cloud(3, 3000, 12)
    order = greedy_coreset(points.float(), 300, 0)
    assert radius(points, order) == pytest.approx(radius(points, greedy_coreset(points, 300, 0)), rel=0.02)


def test_projections_keep_distances_on_average_and_are_the_seeds() -> None:
    points = torch.randn(200, 300, generator=torch.Generator().manual_seed(0))
    made = [random_projection(points, 64, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)]
    assert made[0].equal(made[1])
    assert not made[0].equal(made[2])
    assert (torch.pdist(made[0]) / torch.pdist(points)).mean() == pytest.approx(1.0, abs=0.05)
    assert random_projection(points, 0, torch.Generator()) is points
    assert random_projection(points, 300, torch.Generator()) is points
