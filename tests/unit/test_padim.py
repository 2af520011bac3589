"""PaDiM's Gaussians against their definition, one position at a time."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from harness.types import ConfigError, DataError
from methods.padim.gaussians import CellGaussians


def _seed(value: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(value)


def _features(n: int, channels: int = 12, grid: int = 3, seed: int = 0) -> Tensor:
    """Correlated channels with a scale and a centre of their own."""
    mixing = torch.randn(channels, channels, generator=_seed(99))
    x = torch.randn(n, grid, grid, channels, generator=_seed(seed)) @ mixing + torch.arange(channels)
    return x.permute(0, 3, 1, 2).contiguous()


def _fitted(features: Tensor, dimensions: int, shrinkage: float = 0.01, chunk: int = 7) -> CellGaussians:
    model = CellGaussians(features.shape[1], dimensions, shrinkage, 0)
    model.fit(iter(features.split(chunk)))
    return model


def test_distances_are_those_of_the_definition() -> None:
    train, test = _features(40), _features(5, seed=1)
    model = _fitted(train, 5)
    scores, cells = model.score(test)
    chosen = model.chosen.numpy()
    assert len(set(chosen)) == 5
    for i, j in np.ndindex(3, 3):
        x = train[:, chosen, i, j].double().numpy()
        inverse = np.linalg.inv(np.cov(x.T) + 0.01 * np.eye(5))
        d = test[:, chosen, i, j].double().numpy() - x.mean(0)
        np.testing.assert_allclose(cells[:, i, j], np.sqrt(np.einsum("nd,de,ne->n", d, inverse, d)), rtol=1e-4)
    assert scores.equal(cells.amax((1, 2)))


def test_a_covariance_of_c_times_the_identity_gives_the_euclidean_distance_over_its_root() -> None:
    train = torch.tensor([[2.0, 0], [-2, 0], [0, 2], [0, -2]])[:, :, None, None]  # covariance 8/3 I around 0
    _, cells = _fitted(train, 2, shrinkage=1 / 3).score(torch.tensor([[3.0, 4.0]])[:, :, None, None])
    torch.testing.assert_close(cells.flatten(), torch.tensor([5 / 3**0.5]))


def test_equal_images_leave_the_shrinkage_alone() -> None:
    one = _features(1)
    model = _fitted(one.expand(6, -1, -1, -1), 12, shrinkage=0.25)
    moved = one.clone()
    moved[0, 0] += 1.0
    assert model.score(one)[1].max() < 1e-4
    torch.testing.assert_close(model.score(moved)[1], torch.full((1, 3, 3), 2.0), rtol=1e-4, atol=1e-4)


def test_more_shrinkage_makes_every_distance_smaller() -> None:
    train, test = _features(30), _features(4, seed=1)
    distances = [_fitted(train, 8, s).score(test)[1] for s in (0.001, 0.1, 10.0)]
    assert (distances[0] > distances[1]).all()
    assert (distances[1] > distances[2]).all()


def test_neither_chunks_nor_the_order_of_images_matter() -> None:
    train, test = _features(30), _features(4, seed=1)
    whole = _fitted(train, 8, chunk=30).score(test)[1]
    for other in (_fitted(train, 8, chunk=1), _fitted(train[torch.randperm(30, generator=_seed(5))], 8)):
        torch.testing.assert_close(other.score(test)[1], whole)


def test_a_large_mean_costs_no_digits() -> None:
    train, test = _features(30), _features(4, seed=1)
    far = _fitted(train + 1000.0, 8).score(test + 1000.0)[1]
    torch.testing.assert_close(far, _fitted(train, 8).score(test)[1], rtol=1e-2, atol=1e-2)


def test_the_choice_of_channels_is_the_seeds() -> None:
    chosen = [CellGaussians(136, 100, 0.01, seed).chosen for seed in (0, 0, 1)]
    assert chosen[0].equal(chosen[1])
    assert not chosen[0].equal(chosen[2])
    assert CellGaussians(8, 8, 0.01, 0).chosen.equal(torch.arange(8))


@pytest.mark.parametrize(("dimensions", "shrinkage"), [(0, 0.01), (13, 0.01), (5, 0.0), (5, -1.0)])
def test_options_that_cannot_work_are_refused(dimensions: int, shrinkage: float) -> None:
    with pytest.raises(ConfigError, match="padim"):
        CellGaussians(12, dimensions, shrinkage, 0)


def test_one_image_has_no_covariance() -> None:
    with pytest.raises(DataError, match="covariance"):
        _fitted(_features(1), 4)
