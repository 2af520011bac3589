"""pi-GAN's losses, curriculum, training step, sampling and ablation switches."""

from __future__ import annotations

import contextlib
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
import yaml
from torch import Tensor

from harness.cameras import named_prior, sample_cameras, stack_sweep
from harness.types import (
    Cameras,
    ConfigError,
    Context,
    DataSpec,
    Generates,
    Method,
    PosePrior,
    RadianceField,
    SceneRenders,
)
from methods.pigan.build import build_discriminator, build_generator
from methods.pigan.curriculum import fade, phase_at, phases
from methods.pigan.loss import density_noise, latent_loss, pose_loss, top_k_fraction, top_k_generator_loss
from methods.pigan.method import PiGAN
from methods.pigan.options import parse

FOLDER = Path(__file__).parents[2] / "methods" / "pigan"
PRIOR = named_prior("wide60")


class Settings(dict[str, Any]):
    __getattr__ = dict.__getitem__


def preset(tier: str, **changes: Any) -> Settings:
    config = Settings(yaml.safe_load((FOLDER / f"{tier}.yaml").read_text()))
    assert set(changes) <= set(config)
    config.update(changes)
    return config


def context(config: Settings, total: int = 8, prior: PosePrior = PRIOR, bf16: bool = False) -> Context:
    def cameras(n: int, generator: torch.Generator, prior_: PosePrior | None = None, **kwargs: Any) -> Cameras:
        return sample_cameras(kwargs.get("prior") or prior_ or prior, n, generator)

    def autocast() -> contextlib.AbstractContextManager[Any]:
        return torch.autocast("cpu", dtype=torch.bfloat16) if bf16 else contextlib.nullcontext()

    generator = torch.Generator().manual_seed(1)
    precision = "bf16" if bf16 else "fp32"
    return Context(torch.device("cpu"), precision, 0, total, config.batch_size, generator, autocast, cameras)


def spec(size: int = 32, prior: PosePrior | None = PRIOR) -> DataSpec:
    return DataSpec("objects/head", size, {"train": 8}, prior)


def method(total: int = 8, bf16: bool = False, **changes: Any) -> PiGAN:
    config = preset("smoke", **changes)
    return PiGAN(config, spec(), context(config, total, bf16=bf16))


def batch(count: int = 8, size: int = 32, seed: int = 0) -> dict[str, Tensor]:
    return {"image": torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(seed)) * 2 - 1}


def train(model: PiGAN, start: int, stop: int) -> dict[str, Tensor]:
    log: dict[str, Tensor] = {}
    for step in range(start, stop):
        log = dict(model.train_step(batch(seed=step), step))
        for average in model.averages:
            average.update(step)
    return log


# ------------------------------------------------------------------------------------------------------ losses
def test_top_k_keeps_the_most_realistic_fakes() -> None:
    scores = torch.tensor([3.0, -1.0, 2.0, 0.5])
    torch.testing.assert_close(top_k_generator_loss(scores, 0.5), F.softplus(-torch.tensor([3.0, 2.0])).mean())
    torch.testing.assert_close(top_k_generator_loss(scores, 0.51), F.softplus(-torch.tensor([3.0, 2.0, 0.5])).mean())
    torch.testing.assert_close(top_k_generator_loss(scores, 1.0), F.softplus(-scores).mean())


def test_top_k_fraction_decays_to_its_floor() -> None:
    assert top_k_fraction(0, 2000, 0.6) == 1.0
    assert top_k_fraction(2000, 2000, 0.6) == pytest.approx(0.99)
    assert top_k_fraction(10**6, 2000, 0.6) == 0.6
    assert top_k_fraction(10**6, 0, 0.6) == 1.0


def test_pose_loss_is_in_the_order_pitch_yaw() -> None:
    predicted = torch.tensor([[0.1, 0.5]])
    assert pose_loss(predicted, torch.tensor([0.1]), torch.tensor([0.5])).item() == 0
    assert pose_loss(predicted, torch.tensor([0.5]), torch.tensor([0.1])).item() == pytest.approx(0.16)


def test_latent_loss_is_a_mean_square() -> None:
    assert latent_loss(torch.zeros(2, 3), torch.full((2, 3), 2.0)).item() == 4.0


def test_density_noise_falls_linearly() -> None:
    assert [density_noise(p, 0.5) for p in (0.0, 0.25, 0.5, 1.0)] == [1.0, 0.5, 0.0, 0.0]
    assert density_noise(0.0, 0.0) == 0.0


# -------------------------------------------------------------------------------------------------- curriculum
def test_phases_follow_the_shares() -> None:
    config = preset("smoke", stage_shares=[1.0, 3.0], resolutions=[16, 32])
    plan = phases(parse(config, 32), 100)
    assert [(p.resolution, p.start, p.end) for p in plan] == [(16, 0, 25), (32, 25, 100)]
    assert [phase_at(plan, step).resolution for step in (0, 24, 25, 99, 1000)] == [16, 16, 32, 32, 32]


def test_fade_begins_anew_with_each_resolution_and_spares_the_first() -> None:
    plan = phases(parse(preset("smoke", stage_shares=[0.5, 0.5], resolutions=[16, 32]), 32), 100)
    assert [fade(plan, step, 10, first=False) for step in (0, 50, 55, 60, 99)] == [1.0, 0.0, 0.5, 1.0, 1.0]
    assert fade(plan, 0, 10, first=True) == 0.0
    assert fade(plan, 50, 0, first=True) == 1.0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"stage_batches": [8]}, "stage_batches: has 1 entries"),
        ({"stage_shares": [1.0, 0.0]}, "stage_shares: must be positive"),
        ({"resolutions": [32, 16]}, "must grow"),
        ({"resolutions": [8, 16]}, "the data have 32 pixels"),
        ({"d_widths": [8, 8, 8]}, "d_widths: the discriminator's 3"),
        ({"activation": "tanh"}, "activation: 'tanh' is not one of sine, relu_pe"),
        ({"pose_prior": "narrow"}, "pose_prior: 'narrow'"),
        ({"width": 0}, "width: must be positive"),
        ({"width": "wide"}, "width: 'wide' is not of type int"),
        ({"r1": -1.0}, "r1: must not be negative"),
        ({"samples": 1}, "samples: must be at least 2"),
        ({"samples": 2, "fine_samples": 4}, "samples: must be at least 3"),
        ({"background": [0.5]}, "background: must be"),
        ({"ema_decays": []}, "at least one decay"),
    ],
)
def test_wrong_settings_name_themselves(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        method(**changes)


def test_a_data_set_without_a_prior_is_refused() -> None:
    config = preset("smoke")
    with pytest.raises(ConfigError, match="pose prior"):
        PiGAN(config, spec(prior=None), context(config))


# ----------------------------------------------------------------------------------------------------- training
SWITCHES: list[dict[str, Any]] = [
    {},
    {"activation": "relu_pe"},
    {"conditioning": "concat"},
    {"activation": "relu_pe", "conditioning": "concat"},
    {"view_direction": True},
    {"view_direction": True, "lock_view_dependence": True},
    {"fine_samples": 4, "eval_fine_samples": 4},
    {"samples": 4},
    {"density_act": "relu"},
    {"density_act": "softplus"},
    {"noise_share": 0.5},
    {"last_back": "evaluation"},
    {"last_back": "always"},
    {"white_back": True},
    {"background": []},
    {"last_interval": "infinite"},
    {"rule": "midpoint"},
    {"pos_lambda": 0.0},
    {"latent_lambda": 1.0},
    {"top_k_interval": 1},
    {"resolutions": [8, 32]},
    {"pose_prior": "shifted"},
    {"pose_prior": "wide"},
    {"grid_size": 4},
    {"discriminator": "pooled"},
    {"coordinates": False},
    {"bound": "none", "shared_jitter": False},
    {"length_unit": "camera_radius"},
    {"reuse_fakes": False},
    {"stage_splits": [2, 4]},
    {"truncation": 0.5},
    {"r1": 0.0},
    {"grad_clip": 0.0},
    {"downsample": "nearest"},
    {"first_fade": True},
    {"lr_decay_share": 0.5},
    {"ema_decays": [0.9, 0.99]},
]


@pytest.mark.parametrize("changes", SWITCHES, ids=lambda changes: ",".join(f"{k}={v}" for k, v in changes.items()))
def test_every_switch_trains_both_phases_and_samples(changes: dict[str, Any]) -> None:
    model = method(total=4, stage_shares=[0.5, 0.5], **changes)
    before = {name: value.clone() for name, value in model.generator.state_dict().items()}
    log = train(model, 0, 4)
    assert all(torch.isfinite(value).all() and not value.requires_grad for value in log.values())
    moved = {name for name, value in model.generator.state_dict().items() if not torch.equal(value, before[name])}
    assert any(name.startswith("field") for name in moved)
    assert any(name.startswith("mapping") for name in moved)
    renders = model.sample(model.latents(3, torch.Generator().manual_seed(0)), None)
    assert renders.rgb.shape == (3, 3, 32, 32)
    assert renders.depth is not None
    assert renders.mask is not None
    assert renders.depth.shape == renders.mask.shape == (3, 32, 32)
    assert torch.isfinite(renders.rgb).all()
    assert renders.rgb.abs().max() <= 1
    assert ((renders.mask >= 0) & (renders.mask <= 1 + 1e-5)).all()
    spacing = (PRIOR.far - PRIOR.near) / (model.config.eval_samples - 1)
    assert ((renders.depth > PRIOR.near - spacing) & (renders.depth < PRIOR.far + spacing)).all()


def test_it_is_a_method_that_generates() -> None:
    model = method()
    assert isinstance(model, Method)
    assert isinstance(model, Generates)
    assert isinstance(model, RadianceField)


def test_equal_seeds_give_equal_weights() -> None:
    first, second = method(), method()
    train(first, 0, 3)
    torch.manual_seed(12345)  # the global generator must not matter
    train(second, 0, 3)
    for a, b in zip(first.generator.state_dict().values(), second.generator.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_training_resumes_to_the_same_bits() -> None:
    straight, stopped = method(), method()
    train(straight, 0, 6)
    train(stopped, 0, 3)
    random = stopped.context.generator.get_state()
    resumed = method()
    resumed.load_state_dict(stopped.state_dict())
    resumed.context.generator.set_state(random)
    train(resumed, 3, 6)
    for name in ("generator", "discriminator"):
        a, b = straight.state_dict()[name], resumed.state_dict()[name]
        assert all(torch.equal(a[key], b[key]) for key in a)
    z = straight.latents(2, torch.Generator().manual_seed(3))
    cameras = stack_sweep(PRIOR, [0.0, 0.5])
    assert torch.equal(straight.sample(z, cameras).rgb, resumed.sample(z, cameras).rgb)


def test_generator_step_leaves_the_discriminator_alone_and_splits_agree() -> None:
    whole, split = method(stage_splits=[1, 1], minibatch_groups=0), method(stage_splits=[2, 2], minibatch_groups=0)
    for model in (whole, split):
        before = [p.clone() for p in model.discriminator.parameters()]
        phase = phase_at(model.plan, 0)
        log, (images, z, _) = model._generator_step(8, phase, 1.0, 0)
        assert all(torch.equal(a, b) for a, b in zip(before, model.discriminator.parameters(), strict=True))
        assert all(p.requires_grad and p.grad is None for p in model.discriminator.parameters())
        assert images.shape == (8, 3, phase.resolution, phase.resolution)
        assert not images.requires_grad
        assert len(z) == 8
        assert float(log["g_norm"]) > 0


def test_truncation_zero_gives_one_image_and_one_changes_nothing() -> None:
    model = method()
    train(model, 0, 2)
    z = model.latents(3, torch.Generator().manual_seed(4))
    cameras = stack_sweep(PRIOR, [0.2, 0.2, 0.2])
    plain = model.sample(z, cameras).rgb
    assert (plain[0] - plain[1]).abs().max() > 1e-4
    model.config = replace(model.config, truncation=0.0)
    same = model.sample(z, cameras).rgb
    torch.testing.assert_close(same[0], same[1])
    model.config = replace(model.config, truncation=1.0)
    assert torch.equal(model.sample(z, cameras).rgb, plain)


def test_sampling_does_not_depend_on_the_chunk() -> None:
    model = method()
    z = model.latents(5, torch.Generator().manual_seed(4))
    cameras = stack_sweep(PRIOR, [-0.4, -0.2, 0.0, 0.2, 0.4])
    whole = model.sample(z, cameras)
    model.config = replace(model.config, eval_batch=2)
    torch.testing.assert_close(model.sample(z, cameras).rgb, whole.rgb, rtol=1e-4, atol=1e-4)


def test_bfloat16_training_stays_near_float32() -> None:
    """Twenty steps of the smoke networks: images differ by less than the images of two latents do."""
    exact, rough = method(total=20), method(total=20, bf16=True)
    for model in (exact, rough):
        train(model, 0, 20)
    z = exact.latents(8, torch.Generator().manual_seed(5))
    cameras = sample_cameras(PRIOR, 8, torch.Generator().manual_seed(6))
    a, b = exact.sample(z, cameras).rgb, rough.sample(z, cameras).rgb
    assert (a - b).square().mean().sqrt() < 0.05
    assert torch.isfinite(b).all()


# ---------------------------------------------------------------------------------------- guides and inversion
def test_a_guide_that_says_nothing_changes_nothing() -> None:
    alone, guided = method(stage_splits=[2, 1]), method(stage_splits=[2, 1])
    asked: list[tuple[int, int, int]] = []

    def silent(scene: SceneRenders, step: int) -> Tensor:
        asked.append((step, len(scene.rgb), scene.depth.shape[-1]))
        return scene.depth.new_zeros(())

    guided.guides.append(silent)
    train(alone, 0, 5)
    train(guided, 0, 5)
    # 40 % of 8 steps at 16 pixels in two splits, then 32 pixels in one.
    assert asked == [(0, 4, 16), (0, 4, 16), (1, 4, 16), (1, 4, 16), (2, 4, 16), (2, 4, 16), (3, 8, 32), (4, 8, 32)]
    for name in ("generator", "discriminator"):
        a, b = alone.state_dict()[name], guided.state_dict()[name]
        assert all(torch.equal(a[key], b[key]) for key in a)


def test_guides_add_up_and_reach_the_generator_through_depth_and_other_views() -> None:
    def pull(scene: SceneRenders, step: int) -> Tensor:
        assert scene.rgb.requires_grad
        other = scene.again(stack_sweep(PRIOR, [0.3] * len(scene.rgb)))
        assert other.rgb.shape == scene.rgb.shape
        assert not torch.equal(other.rgb, scene.rgb)
        return scene.depth.mean() + other.depth.mean()

    norms = []
    for guides in ([], [pull], [pull, lambda scene, step: -1 * pull(scene, step)]):
        model = method(shared_jitter=False)
        model.guides.extend(guides)
        log, _ = model._generator_step(8, phase_at(model.plan, 0), 1.0, 0)
        norms.append(float(log["g_norm"]))
    assert abs(norms[1] - norms[0]) > 1e-3
    # What two opposite guides leave is the difference of their jitters.
    assert abs(norms[2] - norms[0]) < abs(norms[1] - norms[0])


def test_a_scene_looks_the_same_again_from_the_same_camera() -> None:
    model = method()
    z, cameras = model.latents(2, torch.Generator().manual_seed(1)), stack_sweep(PRIOR, [-0.2, 0.4])
    state = model.context.generator.get_state()
    first = model._scenes(z, cameras, 16)
    model.context.generator.set_state(state)
    second = first.again(cameras)
    assert torch.equal(first.rgb, second.rgb)
    assert torch.equal(first.depth, second.depth)
    assert second.cameras is cameras


@pytest.mark.parametrize("truncation", [1.0, 0.5])
def test_sampling_is_rendering_the_codes(truncation: float) -> None:
    model = method(truncation=truncation)
    train(model, 0, 2)
    z, cameras = model.latents(3, torch.Generator().manual_seed(4)), stack_sweep(PRIOR, [-0.3, 0.0, 0.3])
    codes = model.codes(z)
    assert codes.shape == (3, 2, model.config.depth + 1, model.config.width)
    sampled, rendered = model.sample(z, cameras), model.render_codes(codes, cameras)
    for a, b in ((sampled.rgb, rendered.rgb), (sampled.depth, rendered.depth), (sampled.mask, rendered.mask)):
        assert a is not None
        assert b is not None
        assert torch.equal(a, b)
    mean = model.mean_code()
    assert mean.shape == codes.shape[1:]
    if truncation < 1:
        whole = replace(model.config, truncation=1.0)
        model.config = whole
        torch.testing.assert_close(codes, (model.codes(z) + mean) / 2)


def test_codes_are_found_again_by_descent() -> None:
    """Inversion: from the mean code the picture and the codes of a latent come nearer, weights stay as they are."""
    model = method()
    train(model, 0, 2)
    cameras = stack_sweep(PRIOR, [0.3])
    target = model.render_codes(model.codes(model.latents(1, torch.Generator().manual_seed(7))), cameras).rgb
    code = model.mean_code()[None].clone().requires_grad_(True)
    optimiser = torch.optim.Adam([code], lr=0.02)
    errors = []
    for _ in range(40):
        loss = (model.render_codes(code, cameras).rgb - target).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        errors.append(float(loss.detach()))
    assert errors[-1] < 0.2 * errors[0]
    assert all(value.grad is None for value in model.averages[0].module.parameters())


def test_density_is_in_world_lengths_and_zero_outside_the_ball() -> None:
    points = torch.tensor([[0.0, 0.1, 0.2], [0.5, -0.3, 0.1], [0.9, 0.9, 0.9]]).expand(2, 3, 3)
    model = method()
    codes = model.codes(model.latents(2, torch.Generator().manual_seed(2)))
    value = model.density(codes, points)
    assert value.shape == (2, 3)
    assert (value[:, :2] > 0).all()
    assert (value[:, 2] == 0).all()
    raw, _ = model.averages[0].module.field(points, points, codes[:, 0], codes[:, 1])
    ball = 9.9 * (0.5 - points.norm(dim=-1))
    torch.testing.assert_close(value[:, :2], (8 * F.softplus(raw + ball - 1))[:, :2])


# ------------------------------------------------------------------------------------------------------ presets
def test_presets_have_the_same_keys() -> None:
    keys = [list(preset(tier)) for tier in ("smoke", "micro", "small", "paper")]
    assert all(set(other) == set(keys[0]) for other in keys)


def test_card_switches_are_keys() -> None:
    card = yaml.safe_load((FOLDER / "card.yaml").read_text())
    assert set(card["switches"]) <= set(preset("micro"))


def test_paper_preset_has_the_published_sizes() -> None:
    config = parse(preset("paper"), 64)
    generator = build_generator(config, named_prior("front_gauss"))
    count = lambda module: sum(p.numel() for p in module.parameters())  # noqa: E731
    assert count(generator.field) == 529_156
    assert count(generator.mapping) == 1_381_632
    assert count(build_discriminator(config)) == 13_291_075
    # The box of side 0.24 in camera radii spans [-1, 1] of the field.
    assert generator.field.coordinate_scale * 0.12 * named_prior("front_gauss").radius == pytest.approx(1.0)
    assert math.isclose(generator.density.length, 1 / 10.4)


@pytest.mark.slow
def test_paper_preset_trains_at_full_resolution_with_batch_one() -> None:
    config = preset("paper", batch_size=1, stage_batches=[1])
    prior = named_prior("front_gauss")
    model = PiGAN(config, spec(64, prior), context(config, 200_000, prior))
    log = model.train_step(batch(1, 64), 0)
    assert all(torch.isfinite(value) for value in log.values())
