"""MLP and CNN of the identical-shortcut study: sizes, what they see, modes, and that they learn to copy."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from harness import registry
from harness.types import ConfigError, ReconstructsFeatures, ScoresAnomalies
from methods.blocks.feature_jitter import Jitter
from methods.blocks.feature_map import FeatureOptions
from methods.blocks.feature_reconstruction import TrainingOptions
from methods.recon_cnn.network import ConvolutionStack
from methods.recon_mlp.method import Options
from methods.recon_mlp.network import TokenMLP
from tests.feature_bench import CATEGORIES, batch_of, build, images, samples, train

NETWORKS: dict[str, Any] = {"recon_mlp": TokenMLP, "recon_cnn": ConvolutionStack}
TAPS = {"recon_mlp": 1, "recon_cnn": 9}
NAMES = tuple(NETWORKS)
STILL = Jitter(0.0, 1.0)


def _network(name: str, channels: int, width: int, layers: int, *, norm: bool = True, jitter: Jitter = STILL) -> Any:
    return NETWORKS[name](channels, width, layers, norm, jitter, torch.Generator().manual_seed(0))


def _count(module: nn.Module) -> int:
    return sum(math.prod(p.shape) for p in module.parameters())


def _features(n: int = 2, channels: int = 10, grid: int = 8) -> Tensor:
    return torch.randn(n, channels, grid, grid, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("norm", [True, False])
@pytest.mark.parametrize(("width", "layers"), [(256, 6), (58, 6), (68, 9), (7, 2)])
@pytest.mark.parametrize("name", NAMES)
def test_parameters_are_those_of_the_formula(name: str, width: int, layers: int, norm: bool) -> None:
    widths = [136, *[width] * (layers - 1), 136]
    weights = TAPS[name] * sum(a * b for a, b in pairwise(widths))
    shifts = (2 if norm else 1) * width * (layers - 1) + 136  # scale and shift of a norm, or a bias
    assert _count(_network(name, 136, width, layers, norm=norm)) == weights + shifts


def test_sizes_of_the_micro_study() -> None:
    assert _count(_network("recon_mlp", 136, 256, 6)) == 334_472
    assert _count(_network("recon_cnn", 136, 256, 6)) == 2_988_680
    matched = _count(_network("recon_cnn", 136, 58, 6))
    transformer = sum(p.numel() for p in build("recon_transformer", "micro").networks.parameters())
    assert abs(matched / transformer - 1) < 0.05


@pytest.mark.parametrize("name", NAMES)
def test_presets_are_the_options_and_share_the_rest_with_uniad(name: str) -> None:
    known = {f for kind in (FeatureOptions, TrainingOptions, Options) for f in kind.__dataclass_fields__}
    own = {"width", "layers", "norm", "jitter_alpha"}
    for tier in ("smoke", "micro", "small", "paper"):
        preset, uniad = registry.methods()[name].preset(tier), registry.methods()["uniad"].preset(tier)
        assert set(preset) == known | {"batch_size"}
        assert {k: v for k, v in preset.items() if k not in own} == {k: uniad[k] for k in preset if k not in own}


def _reach(network: nn.Module) -> Tensor:
    """Which cells [g,g] the output at cell (4,4) depends on."""
    features = _features(1, grid=9).requires_grad_()
    network.eval()(features, None)[0, :, 4, 4].square().sum().backward()
    assert features.grad is not None
    return features.grad[0].abs().sum(0) > 0


def test_the_mlp_sees_one_token() -> None:
    expected = torch.zeros(9, 9, dtype=torch.bool)
    expected[4, 4] = True
    assert _reach(_network("recon_mlp", 10, 32, 6)).equal(expected)


@pytest.mark.parametrize("layers", [2, 3, 4])
def test_each_layer_of_the_cnn_sees_one_cell_more_on_every_side(layers: int) -> None:
    expected = torch.zeros(9, 9, dtype=torch.bool)
    expected[4 - layers : 5 + layers, 4 - layers : 5 + layers] = True
    assert _reach(_network("recon_cnn", 10, 64, layers)).equal(expected)


def test_the_mlp_is_a_stack_of_1x1_convolutions() -> None:
    network, features = _network("recon_mlp", 10, 16, 3).eval(), _features()
    x = features
    for layer, norm in zip(network.hidden, network.norms, strict=True):
        x = nn.functional.conv2d(x, layer.weight[:, :, None, None])
        x = nn.functional.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias).relu()
    x = nn.functional.conv2d(x, network.out.weight[:, :, None, None], network.out.bias)
    torch.testing.assert_close(network(features, None), x, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_training_uses_the_batchs_statistics_and_evaluation_the_running_ones(name: str) -> None:
    network, features = _network(name, 10, 16, 3), _features(4)
    alone, together = network(features[:1], None), network(features, None)[:1]
    assert not alone.allclose(together, atol=1e-3)
    network.eval()
    torch.testing.assert_close(network(features[:1], None), network(features, None)[:1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_jitter_acts_in_training_only_and_is_the_generators(name: str) -> None:
    network, features = _network(name, 10, 16, 3, jitter=Jitter(3.0, 1.0)), _features()
    first, again, other = (network(features, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert first.equal(again)
    assert not first.allclose(other, atol=1e-3)
    network.eval()
    assert network(features, torch.Generator().manual_seed(1)).equal(network(features, None))


@pytest.mark.parametrize("name", NAMES)
def test_it_learns_to_copy_what_it_is_trained_on(name: str) -> None:
    data = samples()
    method = build(name, overrides={"width": 128, "clip": 0.0, "lr": 1e-2}, steps=80)
    assert isinstance(method, ScoresAnomalies)
    assert isinstance(method, ReconstructsFeatures)
    losses = train(method, data, 80)
    assert sum(losses[-5:]) < 0.4 * sum(losses[:5])


@pytest.mark.parametrize("name", NAMES)
def test_separate_networks_learn_from_their_category_only(name: str) -> None:
    data = samples()
    method = build(name, overrides={"mode": "separate"})
    method.prepare(data)
    assert len(method.networks) == CATEGORIES
    before = [torch.cat([p.detach().flatten() for p in network.parameters()]) for network in method.networks]
    method.train_step(batch_of(data, torch.tensor([1, 4, 7, 10])), 0)
    after = [torch.cat([p.detach().flatten() for p in network.parameters()]) for network in method.networks]
    assert [a.equal(b) for a, b in zip(before, after, strict=True)] == [True, False, True]
    assert method.anomaly(images(), torch.arange(6) % CATEGORIES).maps.shape == (6, 32, 32)


@pytest.mark.parametrize("name", NAMES)
def test_equal_seeds_give_equal_networks_whatever_the_global_generator(name: str) -> None:
    made = []
    for seed in (0, 0, 1):
        torch.manual_seed(len(made))
        made.append(torch.cat([p.detach().flatten() for p in build(name, seed=seed).networks.parameters()]))
    assert made[0].equal(made[1])
    assert not made[0].equal(made[2])


@pytest.mark.parametrize(("width", "layers"), [(8, 1), (0, 3)])
@pytest.mark.parametrize("name", NAMES)
def test_sizes_that_cannot_work_are_refused(name: str, width: int, layers: int) -> None:
    with pytest.raises(ConfigError, match=name):
        build(name, overrides={"width": width, "layers": layers})
