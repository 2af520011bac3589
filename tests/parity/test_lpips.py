"""LPIPS against the lpips package on the same random weights; no download."""

import warnings

import pytest
import torch

from harness.metrics.lpips_space import LpipsSpace, lpips_space, space_from_states
from harness.metrics.perceptual import feature_distance
from harness.types import MissingAsset

lpips = pytest.importorskip("lpips")


@pytest.fixture(scope="module")
def peer() -> torch.nn.Module:
    """The package's network with a random trunk and its published heads."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the package calls torchvision's old interface
        return lpips.LPIPS(net="alex", pnet_rand=True, verbose=False).eval()


@pytest.fixture(scope="module")
def ours(peer: torch.nn.Module) -> LpipsSpace:
    trunk = {}
    for key, value in peer.net.state_dict().items():  # slice2.3.weight is features.3.weight
        trunk["features." + key.split(".", 1)[1]] = value
    return space_from_states("alex", trunk, peer.state_dict(), digest="random")


def test_same_distance_per_image(peer: torch.nn.Module, ours: LpipsSpace) -> None:
    generator = torch.Generator().manual_seed(0)
    x, y = (2 * torch.rand(3, 3, 64, 64, generator=generator) - 1 for _ in range(2))
    with torch.no_grad():
        expected = peer(x, y).flatten().double().numpy()
    values = feature_distance(x, y, space=ours, value_range=(-1, 1), reduction="none")
    assert values == pytest.approx(expected, abs=1e-5, rel=1e-4)
    assert feature_distance((x + 1) / 2, (y + 1) / 2, space=ours, value_range=(0, 1)) == pytest.approx(
        expected.mean(), abs=1e-5, rel=1e-4
    )
    assert feature_distance(x, x, space=ours, value_range=(-1, 1)) == 0.0


def test_missing_weights_are_named(tmp_path) -> None:
    with pytest.raises(MissingAsset, match=r"alexnet-owt-7be5be79\.pth"):
        lpips_space("alex", weights=tmp_path)
