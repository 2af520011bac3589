"""DCGAN: sizes, switches, determinism and one step of the published network."""

from __future__ import annotations

import copy
import math
from itertools import pairwise
from typing import Any

import pytest
import torch

from harness import registry
from harness.cameras import look_at
from harness.types import ConfigError
from methods.dcgan.model import DcDiscriminator, DcGenerator, Options, parse
from tests.gan_bench import PRIOR, build, images, train


def _seed(value: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(value)


def _count(module: torch.nn.Module) -> int:
    return sum(math.prod(p.shape) for p in module.parameters())


def test_presets_have_the_same_keys() -> None:
    entry = registry.methods()["dcgan"]
    keys = [set(entry.preset(tier)) for tier in ("smoke", "micro", "small", "paper")]
    assert all(each == set(Options.__dataclass_fields__) for each in keys)


@pytest.mark.parametrize("tier", ["micro", "small"])
def test_about_as_many_parameters_as_hologan(tier: str) -> None:
    resolution = {"micro": 32, "small": 64}[tier]
    ours, theirs = (build(name, tier, resolution=resolution) for name in ("dcgan", "hologan"))
    assert 0.85 < _count(ours.generator) / _count(theirs.generator) < 1.15


def test_paper_preset_takes_one_step_at_full_resolution() -> None:
    method = build("dcgan", "paper", {"batch_size": 1}, resolution=64)
    (log,) = train(method, 1, 2, 64)
    assert all(math.isfinite(value) for value in log.values())
    options = parse(registry.methods()["dcgan"].preset("paper"), 64)
    # Linear 100 -> 4x4x1024, then 5x5 transposed convolutions down to 3 channels, with biases and batch norms.
    widths = [1024, 512, 256, 128, 3]
    expected = 100 * 16384 + 16384 + sum(25 * a * b + b for a, b in pairwise(widths))
    assert _count(DcGenerator(options, _seed())) == expected + 2 * sum(widths[:-1])


@pytest.mark.parametrize(
    "overrides",
    [{}, {"upsampling": "transposed", "widths": [16, 8, 8]}, {"d_norm": "batch"}, {"r1_gamma": 0.0}, {"fast": False}],
    ids=str,
)
def test_every_switch_steps_and_samples(overrides: dict[str, Any]) -> None:
    method = build("dcgan", overrides=overrides)
    for log in train(method, 2, 4):
        assert all(math.isfinite(value) for value in log.values())
    assert method.sample(method.latents(3, _seed()), None).rgb.shape == (3, 3, 32, 32)


def test_cameras_change_nothing() -> None:
    method = build("dcgan")
    latents = method.latents(4, _seed())
    drawn = method.sample(latents, look_at(torch.linspace(-1, 1, 4), torch.zeros(4), PRIOR)).rgb
    assert torch.equal(drawn, method.sample(latents, None).rgb)
    assert drawn.abs().max() <= 1


def test_state_round_trip_continues_bit_for_bit() -> None:
    one, two = build("dcgan"), build("dcgan", seed=9)
    train(one, 2, 4)
    two.load_state_dict(copy.deepcopy(one.state_dict()))
    two.context.generator.set_state(one.context.generator.get_state())
    logs = [{k: float(v) for k, v in m.train_step(images(4, seed=3), 2).items()} for m in (one, two)]
    assert logs[0] == logs[1]


def test_weights_depend_on_the_seed_alone() -> None:
    networks = []
    options = parse(registry.methods()["dcgan"].preset("smoke"), 32)
    for noise in (1, 2):
        torch.manual_seed(noise)
        networks.append(
            [*DcGenerator(options, _seed()).parameters(), *DcDiscriminator(options, 32, _seed()).parameters()]
        )
    assert all(torch.equal(a, b) for a, b in zip(*networks, strict=True))


def test_impossible_options_are_named() -> None:
    with pytest.raises(ConfigError, match=r"dcgan\.widths: draws 16-pixel images"):
        build("dcgan", overrides={"widths": [8, 8, 8]})
    with pytest.raises(ConfigError, match=r"dcgan\.d_widths"):
        build("dcgan", overrides={"d_widths": [8] * 6})
