"""StyleGAN2: its phases, regularisers, switches and published sizes."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
from torch import Tensor

from harness import registry
from harness.types import ConfigError, DataSpec
from methods.blocks.style_discriminator import StyleDiscriminator
from methods.blocks.style_gan_options import StyleGanOptions, parse_style_gan
from methods.blocks.style_generator import StyleGenerator
from tests.gan_bench import build, images, train


def _seed(value: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(value)


def _smoke(**keys: Any) -> Any:
    """The smoke preset without augmentation; ``keys`` change it."""
    return build("stylegan2", overrides={"augmentation": "none", **keys})


def _count(module: torch.nn.Module) -> int:
    return sum(math.prod(p.shape) for p in module.parameters())


def _gradients(module: torch.nn.Module) -> list[Tensor]:
    return [torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in module.parameters()]


# ------------------------------------------------------------------------------------------------------- presets
def test_presets_have_the_same_keys() -> None:
    entry = registry.methods()["stylegan2"]
    keys = [set(entry.preset(tier)) for tier in ("smoke", "micro", "small", "paper")]
    assert all(each == set(StyleGanOptions.__dataclass_fields__) for each in keys)


@pytest.mark.parametrize(("tier", "resolution", "g", "d"), [("micro", 32, 0.264, 0.289), ("small", 64, 1.264, 1.465)])
def test_sizes_of_the_micro_configurations(tier: str, resolution: int, g: float, d: float) -> None:
    method = build("stylegan2", tier, resolution=resolution)
    assert _count(method.generator) / 1e6 == pytest.approx(g, abs=6e-4)
    assert _count(method.discriminator) / 1e6 == pytest.approx(d, abs=6e-4)


PUBLISHED = [
    (256, {}, 24.77, 24.00),
    (512, {"channel_base": 32768, "r1_gamma": 0.5}, 30.28, 28.98),
    (
        1024,
        {"batch_size": 32, "channel_base": 32768, "mbstd_group": 4, "lr": 0.002, "r1_gamma": 10, "ema_kimg": 10},
        30.37,
        29.01,
    ),
]
"""Resolution, keys of README.md on top of the paper preset, millions of parameters of G and D."""


@pytest.mark.parametrize(("resolution", "keys", "g", "d"), PUBLISHED)
def test_sizes_of_the_published_configurations(resolution: int, keys: dict[str, Any], g: float, d: float) -> None:
    config = registry.methods()["stylegan2"].preset("paper") | keys
    networks = parse_style_gan(config, DataSpec("folder/images", resolution, {}), "stylegan2").networks
    assert _count(StyleGenerator(networks, resolution, _seed())) / 1e6 == pytest.approx(g, rel=1e-3)
    assert _count(StyleDiscriminator(networks, resolution, _seed())) / 1e6 == pytest.approx(d, rel=1e-3)


def test_the_cifar_configuration_steps() -> None:
    # The keys of README.md at a 64th of the published width.
    keys: dict[str, Any] = {"mbstd_group": 32, "r1_gamma": 0.01, "ema_kimg": 500, "ema_ramp": 0.05, "mapping_layers": 2}
    keys |= {"path_weight": 0.0, "style_mixing": 0.0, "d_architecture": "orig", "batch_size": 32}
    narrow = {"channel_base": 512, "channel_max": 8, "z_dim": 16, "w_dim": 16}
    method = build("stylegan2", "paper", keys | narrow, resolution=16)
    (log,) = train(method, 1, 32, 16)
    assert set(log) == {"loss_g", "loss_d", "logit_real", "logit_fake", "r1", "augment_p"}
    assert all(math.isfinite(value) for value in log.values())


@pytest.mark.slow
def test_paper_preset_takes_one_step_at_full_resolution() -> None:
    method = build("stylegan2", "paper", {"batch_size": 1}, resolution=256)
    (log,) = train(method, 1, 1, 256)
    assert {"r1", "path_penalty"} <= set(log)
    assert all(math.isfinite(value) for value in log.values())


# -------------------------------------------------------------------------------------------------------- phases
def test_order_and_intervals_of_the_phases(monkeypatch: pytest.MonkeyPatch) -> None:
    method, seen = _smoke(), list[str]()
    for name in ("_step_g", "_step_path", "_step_d", "_step_r1"):

        def phase(*arguments: Any, of: str = name) -> dict[str, Tensor]:
            seen.append(of.removeprefix("_step_"))
            return {}

        monkeypatch.setattr(method, name, phase)
    monkeypatch.setattr(method, "_after_step", lambda step: seen.append("end"))
    for step in range(33):
        method.train_step(images(4), step)
    steps = " ".join(seen).split(" end")[:-1]
    for step, phases in enumerate(steps):
        expected = ["g", *["path"] * (step % 4 == 0), "d", *["r1"] * (step % 16 == 0)]
        assert phases.split() == expected, step


def test_each_phase_is_a_step_of_its_own_network() -> None:
    method = _smoke()
    steps: list[str] = []
    for name, optimiser in (("g", method.optimiser_g), ("d", method.optimiser_d)):
        optimiser.register_step_post_hook(lambda *_, of=name: steps.append(of))
    for step in range(5):
        method.train_step(images(8), step)
    assert steps == ["g", "g", "d", "d", "g", "d", "g", "d", "g", "d", "g", "g", "d"]


def test_phases_of_g_leave_d_alone_and_the_reverse() -> None:
    method = _smoke()
    d_before = copy.deepcopy(method.discriminator.state_dict())
    method._step_g(4, None)
    method._step_path(4, None)
    assert all(torch.equal(value, d_before[key]) for key, value in method.discriminator.state_dict().items())
    assert all(p.grad is None and p.requires_grad for p in method.discriminator.parameters())
    g_before = [p.detach().clone() for p in method.generator.parameters()]
    method._step_d(images(4)["image"], None)
    method._step_r1(images(4)["image"], None)
    assert all(torch.equal(a, b) for a, b in zip(g_before, method.generator.parameters(), strict=True))


def test_an_interval_of_zero_adds_the_regulariser_to_the_main_step() -> None:
    method = _smoke(r1_every=0, path_every=0)
    steps: list[str] = []
    for name, optimiser in (("g", method.optimiser_g), ("d", method.optimiser_d)):
        optimiser.register_step_post_hook(lambda *_, of=name: steps.append(of))
        assert optimiser.param_groups[0]["lr"] == method.options.lr
    log = method.train_step(images(8), 3)
    assert steps == ["g", "d"]
    assert {"r1", "path_penalty"} <= set(log)


def test_switched_off_regularisers_cost_no_step() -> None:
    method = _smoke(r1_gamma=0.0, path_weight=0.0)
    log = method.train_step(images(8), 0)
    assert not {"r1", "path_penalty"} & set(log)
    # The correction stays: an empty phase is still a phase.
    assert method.optimiser_g.param_groups[0]["lr"] == pytest.approx(0.8 * method.options.lr)


def test_first_g_step_moves_weights_by_the_corrected_rate() -> None:
    method = _smoke(path_weight=0.0)
    before = method.generator.synthesis.state_dict()
    before = {key: value.clone() for key, value in before.items()}
    method._step_g(8, None)
    largest = max(float((v - before[k]).abs().max()) for k, v in method.generator.synthesis.state_dict().items())
    assert largest == pytest.approx(0.8 * method.options.lr, rel=1e-3)


# ------------------------------------------------------------------------------------------------------------ R1
def test_r1_of_a_linear_discriminator_is_its_squared_slope(monkeypatch: pytest.MonkeyPatch) -> None:
    method = _smoke()
    slope = torch.randn(3 * 32 * 32, generator=_seed(1)).requires_grad_(True)
    monkeypatch.setattr(method, "_logits", lambda images, label: images.flatten(1) @ slope)
    log = method._r1(images(4)["image"], None, 16)
    assert float(log["r1"]) == pytest.approx(float(slope.detach().square().sum()), rel=1e-4)
    # d/da of 16 gamma / 2 ||a||^2
    torch.testing.assert_close(slope.grad, 16 * method.options.r1_gamma * slope.detach(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("keys", [{}, {"augmentation": "fixed", "augmentation_p": 0.7}, {"augmentation": "diffaug"}])
def test_r1_phase_equals_plain_autograd(keys: dict[str, Any], precision: str) -> None:
    method = build("stylegan2", overrides={"augmentation": "none", **keys}, precision=precision)
    real, seeded = images(4)["image"], method.context.generator.get_state()
    log = method._r1(real, None, 16)
    ours = _gradients(method.discriminator)
    method.discriminator.zero_grad(set_to_none=True)
    method.context.generator.set_state(seeded)
    points = real.clone().requires_grad_(True)
    logits = method.discriminator(method.augmentation(points, method.context.generator))
    (slope,) = torch.autograd.grad(logits.sum(), points, create_graph=True)
    penalty = slope.square().sum((1, 2, 3)).mean()
    (8 * method.options.r1_gamma * penalty).backward()
    assert float(log["r1"]) == pytest.approx(float(penalty.detach()), rel=1e-4)
    for a, b in zip(ours, _gradients(method.discriminator), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-6)


def test_r1_gradient_agrees_with_finite_differences() -> None:
    method = _smoke()
    real = images(4)["image"]
    method._r1(real, None, 1)
    weights = list(method.discriminator.parameters())
    slope = [torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in weights]
    norm = torch.stack([g.norm() for g in slope]).norm()
    ends = []
    for shift in (1e-2, -2e-2):  # steps along the gradient, of this length
        with torch.no_grad():
            for weight, gradient in zip(weights, slope, strict=True):
                weight += shift * gradient / norm
        ends.append(0.5 * method.options.r1_gamma * float(method._r1(real, None, 1)["r1"]))
    assert (ends[0] - ends[1]) / 2e-2 == pytest.approx(float(norm), rel=0.1)


# -------------------------------------------------------------------------------------------------- path length
def test_path_phase_equals_plain_autograd() -> None:
    method = _smoke()
    method.path_length.mean = torch.tensor(0.3)
    seeded = method.context.generator.get_state()
    log = method._path(8, None, 4)
    ours = _gradients(method.generator)
    method.generator.zero_grad(set_to_none=True)
    method.context.generator.set_state(seeded)
    codes = method._codes(4, None)
    picture = method.generator.synthesis(codes, generator=method.context.generator).image
    noise = torch.randn(picture.shape, generator=method.context.generator) / 32
    (slope,) = torch.autograd.grad((picture * noise).sum(), codes, create_graph=True)
    lengths = torch.stack([row.square().sum(1).mean().sqrt() for row in slope])
    mean = 0.99 * 0.3 + 0.01 * lengths.mean()
    penalty = ((lengths - mean) ** 2).mean()
    (2 * 4 * penalty).backward()
    assert float(log["path_penalty"]) == pytest.approx(float(penalty.detach()), rel=1e-4)
    assert float(log["path_length"]) == pytest.approx(float(mean.detach()), rel=1e-5)
    for a, b in zip(ours, _gradients(method.generator), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-6)


# --------------------------------------------------------------------------------------------------- controller
class _Recorder:
    """Stands in for an augmentation and writes down how it is used."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, int]] = []
        self.probability = torch.zeros(())

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        self.calls.append(("augment", len(images)))
        return images

    def observe(self, logits_real: Tensor) -> None:
        assert not logits_real.requires_grad
        self.calls.append(("observe", len(logits_real)))

    def update(self, step: int, batch_size: int) -> None:
        self.calls.append((f"update {step}", batch_size))


def test_everything_judged_is_augmented_and_real_logits_are_observed() -> None:
    method = _smoke()
    method.augmentation = recorder = _Recorder()
    method.train_step(images(8), 0)
    judged = [("augment", 8)] * 3 + [("observe", 8), ("augment", 8), ("observe", 8)]
    assert recorder.calls == [*judged, ("update 0", 8)]
    recorder.calls.clear()
    method.train_step(images(8), 1)
    assert recorder.calls == [("augment", 8)] * 3 + [("observe", 8), ("update 1", 8)]


def test_the_controller_raises_p_where_d_is_sure() -> None:
    method = _smoke(augmentation="ada", ada_kimg=1, r1_gamma=0.0)
    method._logits = lambda images, label=None: 5.0 + 0.0 * method.discriminator(images, label)
    for step in range(8):
        log = method.train_step(images(8), step)
    assert float(log["augment_p"]) == pytest.approx(2 * 4 * 8 / 1000)


# ------------------------------------------------------------------------------------------------ running means
def test_mean_style_moves_in_every_main_call_of_g() -> None:
    method = _smoke(style_mixing=0.0)
    mapping = method.generator.mapping
    made: list[Tensor] = []
    mapping.register_forward_hook(lambda module, arguments, output: made.append(output[:, 0].detach().mean(0)))
    for step in range(2):
        method.train_step(images(8), step)
    expected = torch.zeros_like(mapping.average)
    assert len(made) == 5  # G, path length and D's fakes in step 0; G and D's fakes in step 1
    for mean in made:
        expected = expected + 0.005 * (mean - expected)
    torch.testing.assert_close(mapping.average, expected)


def test_mixing_leaves_the_mean_style_to_the_first_codes() -> None:
    method = _smoke(style_mixing=1.0)
    codes = method._codes(6, None)
    other = torch.zeros(16).lerp(codes[:, 0].detach().mean(0), 0.005)
    torch.testing.assert_close(method.generator.mapping.average, other)
    assert not torch.equal(codes[:, 0], codes[:, -1])


def test_average_starts_as_a_copy_and_copies_the_mean_style() -> None:
    method = _smoke()
    for name, value in method.average.module.state_dict().items():
        assert torch.equal(value, method.generator.state_dict()[name]), name
    train(method, 2, 8)
    assert torch.equal(method.average.module.mapping.average, method.generator.mapping.average)
    assert not torch.equal(
        next(method.average.module.synthesis.parameters()), next(method.generator.synthesis.parameters())
    )


# ----------------------------------------------------------------------------------------------- what can go wrong
def test_non_finite_losses_reach_the_log_and_gradients_are_cleaned() -> None:
    method = _smoke()
    batch = images(8)
    batch["image"][0, 0, 0, 0] = math.nan
    log = method.train_step(batch, 1)
    assert not math.isfinite(float(log["loss_d"]))
    assert all(p.isfinite().all() for p in method.discriminator.parameters())


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("d_architecture", "residual", "stylegan2.d_architecture: 'residual' is not one of"),
        ("mbstd_group", 3, "stylegan2.mbstd_group: batches of 8 cannot be cut into groups of 3"),
        ("style_mixing", 1.5, "stylegan2.style_mixing: must be a probability"),
        ("r1_gamma", -1.0, "stylegan2.r1_gamma: must not be negative"),
        ("batch_size", 0, "stylegan2.batch_size: must be positive"),
        ("conditional", True, "stylegan2.conditional: the data have no classes"),
        ("augmentation", "adaptive", "stylegan2.augmentation: 'adaptive' is not one of"),
    ],
)
def test_impossible_options_are_named(key: str, value: Any, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build("stylegan2", overrides={key: value})
    assert message in str(caught.value)


@pytest.mark.parametrize("resolution", [4, 24, 33])
def test_sizes_that_are_no_power_of_two_are_refused(resolution: int) -> None:
    with pytest.raises(ConfigError, match="power of two"):
        build("stylegan2", resolution=resolution)


# ------------------------------------------------------------------------------------------------------ switches
@pytest.mark.parametrize(
    "keys",
    [
        {"modulation": "grouped", "folded": False, "channels_last": False},
        {"g_architecture": "resnet", "d_architecture": "skip"},
        {"g_architecture": "orig", "d_architecture": "orig", "path_weight": 0.0, "style_mixing": 0.0},
        {"noise": "const", "demodulate": False, "mapping_layers": 8},
        {"noise": "none", "mbstd_group": 8, "freeze_d": 3, "ema_ramp": 0.05},
        {"augmentation": "diffaug", "mirror": True},
        {"augmentation": "fixed", "augmentation_p": 0.5, "r1_every": 0, "path_every": 0},
    ],
    ids=str,
)
def test_every_switch_steps_and_samples(keys: dict[str, Any]) -> None:
    method = _smoke(**keys)
    for log in train(method, 2, 8):
        assert all(math.isfinite(value) for value in log.values())
    assert method.sample(method.latents(3, _seed()), None).rgb.shape == (3, 3, 32, 32)


def test_fast_and_public_forms_take_the_same_first_step() -> None:
    public = {"modulation": "grouped", "folded": False, "channels_last": False}
    fast, plain = _smoke(), _smoke(**public)
    logs = [train(method, 1, 8)[0] for method in (fast, plain)]
    for name, value in logs[0].items():
        assert logs[1][name] == pytest.approx(value, rel=2e-3, abs=1e-5), name


def test_frozen_layers_of_d_stay() -> None:
    method = _smoke(freeze_d=4)
    frozen = [name for name, p in method.discriminator.named_parameters() if not p.requires_grad]
    before = {name: value.clone() for name, value in method.discriminator.state_dict().items()}
    train(method, 2, 8)
    after = method.discriminator.state_dict()
    assert frozen
    assert all(torch.equal(after[name], before[name]) for name in frozen)
    assert not all(torch.equal(after[name], before[name]) for name in before)


def test_mirror_turns_about_half_of_the_images() -> None:
    method = _smoke(mirror=True)
    real = images(64)["image"]
    made = method._mirrored(real)
    turned = [torch.equal(a, b.flip(2)) for a, b in zip(made, real, strict=True)]
    kept = [torch.equal(a, b) for a, b in zip(made, real, strict=True)]
    assert 16 < sum(turned) < 48
    assert all(a != b for a, b in zip(turned, kept, strict=True))
