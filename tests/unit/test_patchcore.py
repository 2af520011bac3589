"""PatchCore's memory: neighbours, local averages, weights."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from harness.types import ConfigError
from methods.patchcore.memory import MemoryBank, Options
from methods.patchcore.neighbours import nearest

KEEP_ALL = Options(neighbourhood=1, coreset=1.0, projection=0, reweight=False, neighbours=9)


def _seed(value: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(value)


def _features(n: int, seed: int = 0) -> Tensor:
    return torch.randn(n, 6, 4, 4, generator=_seed(seed))


def _bank(features: Tensor, **changes: object) -> MemoryBank:
    bank = MemoryBank(Options(**{**vars(KEEP_ALL), **changes}), 0)
    bank.fit(iter(features.split(3)))
    return bank


def test_neighbours_are_those_of_all_distances() -> None:
    queries, memory = torch.randn(1500, 20, generator=_seed()), torch.randn(70, 20, generator=_seed(1))
    distances, indices = nearest(queries, memory)
    truth = torch.cdist(queries.double(), memory.double()).min(1)
    torch.testing.assert_close(distances.double(), truth.values, rtol=1e-5, atol=1e-6)
    assert indices.equal(truth.indices)


def test_members_of_the_memory_are_at_distance_exactly_zero() -> None:
    memory = torch.randn(500, 112, generator=_seed()) + 30.0
    distances, indices = nearest(memory, memory)
    assert not distances.any()
    assert indices.equal(torch.arange(500))


def test_training_images_score_zero_where_everything_is_kept() -> None:
    features = _features(5)
    scores, cells = _bank(features).score(features)
    assert not cells.any()
    assert not scores.any()


@pytest.mark.parametrize(("fraction", "kept"), [(1.0, 80), (0.1, 8), (0.5, 40), (1e-6, 1)])
def test_the_coreset_keeps_its_share_of_the_patches(fraction: float, kept: int) -> None:
    features = _features(5)
    memory = _bank(features, coreset=fraction, projection=3).memory
    assert memory.shape == (kept, 6)
    everything = features.permute(0, 2, 3, 1).reshape(-1, 6)
    assert (memory[:, None] == everything).all(2).any(1).all()


def test_a_larger_coreset_is_nowhere_farther_on_the_whole() -> None:
    train, test = _features(20), _features(5, 1)
    means = [float(_bank(train, coreset=share).score(test)[1].mean()) for share in (0.05, 0.2, 0.5, 1.0)]
    assert means == sorted(means, reverse=True)


def test_the_order_of_training_images_does_not_matter_to_a_full_memory() -> None:
    train, test = _features(8), _features(3, 1)
    shuffled = _bank(train[torch.randperm(8, generator=_seed(4))]).score(test)[1]
    torch.testing.assert_close(shuffled, _bank(train).score(test)[1])


def test_an_image_is_scored_alike_in_any_batch() -> None:
    bank, test = _bank(_features(8), coreset=0.3, neighbourhood=3, reweight=True), _features(6, 1)
    scores, cells = bank.score(test)
    turned = bank.score(test.flip(0))
    torch.testing.assert_close(turned[0].flip(0), scores)
    torch.testing.assert_close(turned[1].flip(0), cells)
    torch.testing.assert_close(bank.score(test[2:3])[0], scores[2:3])


def test_local_averages_include_only_cells_of_the_grid() -> None:
    ones = torch.ones(1, 6, 4, 4)
    bank = _bank(ones, neighbourhood=3)
    torch.testing.assert_close(bank.memory, torch.ones(16, 6))
    spot = torch.zeros(1, 6, 4, 4)
    spot[0, :, 0, 0] = 36.0
    averaged = _bank(spot, neighbourhood=3).memory.view(4, 4, 6)[:, :, 0]
    expected = torch.zeros(4, 4)
    expected[0, 0], expected[0, 1], expected[1, 0], expected[1, 1] = 9.0, 6.0, 6.0, 4.0
    torch.testing.assert_close(averaged, expected)


def test_weights_are_those_of_equation_7() -> None:
    train, test = _features(6), _features(4, 1)
    plain, weighted = (_bank(train, reweight=switch, neighbours=5) for switch in (False, True))
    bare, cells = plain.score(test)
    scores, same = weighted.score(test)
    assert same.equal(cells)
    memory = train.permute(0, 2, 3, 1).reshape(-1, 6)
    for row in range(4):
        patch = test[row].permute(1, 2, 0).reshape(-1, 6)[int(cells[row].argmax())]
        closest = memory[int((memory - patch).norm(dim=1).argmin())]
        around = memory[(memory - closest).norm(dim=1).argsort()[:5]]
        weight = 1 - math.exp(float(bare[row])) / float((around - patch).norm(dim=1).exp().sum())
        assert float(scores[row]) == pytest.approx(weight * float(bare[row]), rel=1e-4)
        assert 1 - 1 / 5 <= weight < 1


def test_weights_of_far_images_stay_finite() -> None:
    bank = _bank(_features(6), reweight=True)
    scores, _ = bank.score(_features(2, 1) * 1e4)
    assert scores.isfinite().all()


@pytest.mark.parametrize(
    "changes",
    [
        {"coreset": 0.0},
        {"coreset": 1.5},
        {"neighbourhood": 2},
        {"neighbourhood": 0},
        {"reweight": True, "neighbours": 1},
    ],
)
def test_options_that_cannot_work_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="patchcore"):
        MemoryBank(Options(**{**vars(KEEP_ALL), **changes}), 0)
