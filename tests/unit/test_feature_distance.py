"""The feature distance on a network whose features are its pooled input."""

from __future__ import annotations

from types import SimpleNamespace

import torch
from torch import Tensor, nn

from methods.blocks.feature_distance import FeatureDistance


class _Pool(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(()))

    def forward(self, images: Tensor) -> SimpleNamespace:
        return SimpleNamespace(features=nn.functional.avg_pool2d(images, 4) * self.gain)


def _labels() -> Tensor:
    labels = torch.zeros(1, 8, 8, dtype=torch.long)
    labels[:, :4, :4] = 2  # a whole cell of a thing
    labels[:, :4, 4:6] = 2  # half a cell
    labels[:, 4:, :4] = 255
    return labels


def test_mean_distance_over_cells_that_a_thing_covers() -> None:
    network = _Pool()
    distance = FeatureDistance(network, 3, (1, 2))
    images = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    features = network(images).features.detach()
    moved = features.clone()
    moved[:, :, 0, 0] += torch.tensor([3.0, 0.0, 4.0])
    moved[:, :, 1, 1] += 100.0
    torch.testing.assert_close(distance(moved, images, _labels()), torch.tensor(5.0))


def test_without_a_cell_it_is_zero_and_at_the_start_gradients_are_finite() -> None:
    network = _Pool()
    distance = FeatureDistance(network, 3, (1,))
    images = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    loss = distance(network(images).features, images, _labels())
    loss.backward()
    assert float(loss.detach()) == 0.0
    assert network.gain.grad is not None
    assert torch.isfinite(network.gain.grad)
    assert distance.frozen.gain.grad is None
    start = FeatureDistance(network, 3, (2,))
    network.gain.grad = None
    start(network(images).features, images, _labels()).backward()
    assert torch.isfinite(network.gain.grad)
