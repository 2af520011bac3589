"""HoloGAN: published sizes, exact disentanglement invariants, every switch, and one step of the paper's networks."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor, nn

from harness import registry
from harness.cameras import look_at
from harness.types import ConfigError, DataSpec
from methods.hologan.discriminator import HoloDiscriminator, StyleHead
from methods.hologan.method import HoloGAN
from methods.hologan.method import split as split_verdict
from methods.hologan.model import HoloGenerator, Projection2d, merge_depth, smooth_kernel
from methods.hologan.options import Options, parse
from tests.gan_bench import PRIOR, build, context, images, train

PAPER_128: dict[str, Any] = {
    "widths_3d": [256, 128],
    "frustum_convs": 2,
    "projection_width": 512,
    "widths_2d": [256, 64, 32],
    "activation_slope": 0.2,
    "d_widths": [64, 128, 256, 512, 1024],
    "style_heads": "code",
    "identity_weight": 1.0,
    "lr_g": 5.0e-5,
    "lr_d": 5.0e-5,
}


def _options(tier: str, resolution: int, **overrides: Any) -> Options:
    return parse({**registry.methods()["hologan"].preset(tier), **overrides}, resolution)


def _count(module: nn.Module) -> int:
    return sum(math.prod(p.shape) for p in module.parameters())


def _seed(value: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(value)


# --------------------------------------------------------------------------------------------- sizes and presets
def test_presets_have_the_same_keys() -> None:
    entry = registry.methods()["hologan"]
    keys = [set(entry.preset(tier)) for tier in ("smoke", "micro", "small", "paper")]
    assert all(each == keys[0] for each in keys)
    assert keys[0] == set(Options.__dataclass_fields__)


def test_switches_of_the_card_are_keys_of_the_presets() -> None:
    entry = registry.methods()["hologan"]
    assert set(entry.card.switches) <= set(entry.preset("micro"))


def test_parameter_counts_of_the_released_64_pixel_networks() -> None:
    options = _options("paper", 64)
    assert _count(HoloGenerator(options, _seed())) == 7_797_251
    assert _count(HoloDiscriminator(options, _seed())) == 5_381_761


def test_parameter_counts_of_the_released_128_pixel_networks() -> None:
    options = _options("paper", 128, **PAPER_128)
    assert _count(HoloGenerator(options, _seed())) == 8_029_475
    assert _count(HoloDiscriminator(options, _seed())) == 19_550_725


def test_parameter_counts_of_the_micro_networks() -> None:
    options = _options("micro", 32)
    assert _count(HoloGenerator(options, _seed())) == 142_691
    assert _count(HoloDiscriminator(options, _seed())) == 434_049


def test_paper_preset_takes_one_step_at_full_resolution() -> None:
    method = build("hologan", "paper", {"batch_size": 1}, resolution=64)
    (log,) = train(method, 1, 1, 64)
    assert all(math.isfinite(value) for value in log.values())


@pytest.mark.slow
def test_paper_preset_at_128_takes_one_step() -> None:
    method = build("hologan", "paper", {**PAPER_128, "batch_size": 1}, resolution=128)
    (log,) = train(method, 1, 1, 128)
    assert all(math.isfinite(value) for value in log.values())


# ------------------------------------------------------------------------------------------------- the generator
@pytest.fixture(scope="module")
def smoke() -> Any:
    return build("hologan")


def _codes(n: int, z: int, seed: int = 0) -> Tensor:
    return torch.rand(n, z, generator=_seed(seed)) * 2 - 1


def test_pose_leaves_the_canonical_grid_bit_identical(smoke: HoloGAN) -> None:
    seen: list[Tensor] = []
    handle = smoke.generator.norms_3d[-1].register_forward_hook(lambda m, i, out: seen.append(out.detach()))
    z = _codes(3, 8)
    for angle in (0.0, 1.0):
        smoke.generator(z, z, torch.full((3,), angle), torch.full((3,), -angle / 4))
    handle.remove()
    assert torch.equal(*seen)


def test_appearance_leaves_the_projected_features_bit_identical(smoke: HoloGAN) -> None:
    seen: list[Tensor] = []
    handle = smoke.generator.projection.register_forward_hook(lambda m, i, out: seen.append(out.detach()))
    z, angle = _codes(3, 8), torch.tensor([0.1, 0.2, -0.3])
    drawn = [smoke.generator(z, appearance, angle, angle) for appearance in (z, _codes(3, 8, 1))]
    handle.remove()
    assert torch.equal(*seen)
    assert not torch.equal(*drawn)


def test_shape_and_pose_change_the_projected_features(smoke: HoloGAN) -> None:
    z, zero = _codes(2, 8), torch.zeros(2)
    volume = smoke.generator.volume(z)
    features = smoke.generator.project(volume, zero, zero)
    assert not torch.equal(features, smoke.generator.project(volume, zero + 0.5, zero))
    assert not torch.equal(features, smoke.generator.project(volume, zero, zero + 0.5))
    assert not torch.equal(volume, smoke.generator.volume(_codes(2, 8, 1)))


def test_images_are_bounded_deterministic_and_equivariant_in_the_batch(smoke: HoloGAN) -> None:
    z, angle = _codes(5, 8), torch.linspace(-1, 1, 5)
    drawn = smoke.generator(z, z, angle, angle / 4)
    assert drawn.shape == (5, 3, 32, 32)
    assert drawn.abs().max() <= 1
    assert torch.equal(drawn, smoke.generator(z, z, angle, angle / 4))
    order = torch.tensor([3, 1, 4, 0, 2])
    turned = smoke.generator(z[order], z[order], angle[order], angle[order] / 4)
    torch.testing.assert_close(turned, drawn[order], atol=1e-5, rtol=1e-5)


def test_zero_latents_are_finite(smoke: HoloGAN) -> None:
    zero = torch.zeros(2, 8)
    assert torch.isfinite(smoke.generator(zero, zero, torch.zeros(2), torch.zeros(2))).all()


def test_projection_keeps_a_voxel_in_its_pixel() -> None:
    volume = torch.zeros(1, 3, 4, 5, 6)
    volume[0, 2, 1, 3, 4] = 1.0
    merged = merge_depth(volume)
    assert merged.shape == (1, 12, 5, 6)
    assert merged.sum() == 1
    assert merged[0, 1 * 3 + 2, 3, 4] == 1


@pytest.mark.parametrize("kind", ["concat_mlp", "depth_mean", "depth_max"])
def test_projection_collapses_depth_only(kind: Any) -> None:
    unit = Projection2d(kind, 3, 4, 7, 0.2)
    volume = torch.randn(2, 3, 4, 5, 6, generator=_seed())
    drawn = unit(volume)
    assert drawn.shape == (2, 7, 5, 6)
    shifted = unit(volume.roll(1, dims=4))
    torch.testing.assert_close(shifted, drawn.roll(1, dims=3), atol=1e-6, rtol=1e-5)


def test_smoothing_a_kernel_keeps_its_sum() -> None:
    for shape in ((4, 3, 3, 3, 3), (4, 3, 3, 3)):
        weight = torch.randn(shape, generator=_seed())
        total = weight.flatten(2).sum(2)
        rough = weight.clone()
        smooth_kernel(weight, 0.0)
        torch.testing.assert_close(weight.flatten(2).sum(2), total)
        assert (weight.flatten(2).sign() == total.sign()[..., None]).all()
        smooth_kernel(rough, 1.0)
        assert not torch.equal(rough, weight)


# --------------------------------------------------------------------------------------------- the discriminator
def test_style_statistics_ignore_where_things_are() -> None:
    options = _options("smoke", 32, style_heads="paper", d_norm="instance")
    discriminator = HoloDiscriminator(options, _seed())
    x = torch.randn(2, 16, 8, 8, generator=_seed())
    heads: list[Tensor] = []
    discriminator._statistics(x, 0, heads)
    order = torch.randperm(64, generator=_seed())
    discriminator._statistics(x.flatten(2)[..., order].view_as(x), 0, heads)
    torch.testing.assert_close(heads[0], heads[1])


def test_style_heads_see_the_statistics() -> None:
    mean, variance = torch.randn(3, 5, generator=_seed()), torch.rand(3, 5, generator=_seed(1))
    assert StyleHead(5, "paper")(mean, variance).shape == (3, 1)
    head = StyleHead(5, "code")
    stacked = head(mean, variance)
    assert stacked.shape == (6, 1)
    torch.testing.assert_close(stacked[:3], head.layers(mean))


@pytest.mark.parametrize("style_heads", ["none", "paper", "code"])
def test_splitting_a_verdict_equals_judging_apart(style_heads: str) -> None:
    options = _options("smoke", 32, style_heads=style_heads, d_norm="instance")
    discriminator = HoloDiscriminator(options, _seed()).eval()
    real, fake = images(3)["image"], images(3, seed=1)["image"]
    together = split_verdict(discriminator(torch.cat([real, fake])), 3)
    for part, batch in zip(together, (real, fake), strict=True):
        alone = discriminator(batch)
        torch.testing.assert_close(part.logit, alone.logit, atol=1e-5, rtol=1e-4)
        for a, b in zip(part.styles, alone.styles, strict=True):
            torch.testing.assert_close(a.reshape(-1), b.reshape(-1), atol=1e-5, rtol=1e-4)


def test_spectral_norm_on_all_but_the_first_convolution() -> None:
    discriminator = HoloDiscriminator(_options("paper", 64, spectral_norm=True), _seed())
    for _ in range(3):
        discriminator(images(1, 64)["image"])
    assert not hasattr(discriminator.convs[0], "parametrizations")
    for conv in list(discriminator.convs)[1:3]:
        largest = torch.linalg.matrix_norm(conv.weight.detach().flatten(1), ord=2)
        assert 0.9 <= float(largest) <= 1.1


def test_weights_depend_on_the_seed_alone() -> None:
    options = _options("smoke", 32, spectral_norm=True, style_heads="paper", d_norm="instance", recognise_pose=3.0)
    networks = []
    for noise in (1, 2):
        torch.manual_seed(noise)
        seeded = _seed(5)
        networks.append((HoloGenerator(options, seeded), HoloDiscriminator(options, seeded)))
    for one, two in zip(*networks, strict=True):
        for a, b in zip(one.state_dict().values(), two.state_dict().values(), strict=True):
            assert torch.equal(a, b)


# ------------------------------------------------------------------------------------------------- training steps
SWITCHES: list[dict[str, Any]] = [
    {"train_rotation": "none"},
    {"z_input": "first_layer"},
    {"pose_input": "vector"},
    {"frustum_convs": 0},
    {"frustum_convs": 2},
    {"projection": "depth_mean"},
    {"projection": "depth_max"},
    {"style_heads": "paper", "d_norm": "instance", "spectral_norm": True},
    {"style_heads": "code", "style_in_g": False},
    {"identity_weight": 0.0},
    {"recognise_pose": 3.0},
    {"pose_range": 1.5},
    {"pose_range": 0.5},
    {"g_steps": 2},
    {"adain_act": "relu"},
    {"rotation_centre": "code"},
    {"rotation_padding": "border"},
    {"lr_schedule": "constant"},
    {"upsampling": "transposed"},
    {"constant": "noise", "mask_radius": 0.0},
    {"input_noise": 0.02},
    {"r1_gamma": 0.0},
    {"fast": False},
    {"fast": False, "g_steps": 2},
]


@pytest.mark.parametrize("overrides", SWITCHES, ids=lambda o: ",".join(f"{k}={v}" for k, v in o.items()))
def test_every_switch_steps_and_samples(overrides: dict[str, Any]) -> None:
    method = build("hologan", overrides=overrides)
    for log in train(method, 2, 4):
        assert all(math.isfinite(value) for value in log.values())
    drawn = method.sample(method.latents(3, _seed()), None).rgb
    assert drawn.shape == (3, 3, 32, 32)
    assert torch.isfinite(drawn).all()


def test_both_networks_move_and_d_is_still_in_the_generator_step() -> None:
    method = build("hologan", overrides={"r1_gamma": 0.0, "g_steps": 2})
    before = {n: p.detach().clone() for n, p in method.discriminator.named_parameters()}
    method._step_g(method._forward(_codes(4, 8), torch.zeros(4), torch.zeros(4)), _codes(4, 8), torch.zeros(4, 3))
    assert all(torch.equal(before[n], p) for n, p in method.discriminator.named_parameters())
    assert all(p.requires_grad for p in method.discriminator.parameters())
    start = method.generator.constant.detach().clone()
    train(method, 1, 4)
    assert not torch.equal(start, method.generator.constant)
    assert not all(torch.equal(before[n], p) for n, p in method.discriminator.named_parameters())


def test_fast_and_plain_paths_agree() -> None:
    logs = [train(build("hologan", overrides={"fast": fast}), 4, 4) for fast in (True, False)]
    for fast, plain in zip(*logs, strict=True):
        assert fast.keys() == plain.keys()
        for name, value in fast.items():
            assert value == pytest.approx(plain[name], abs=2e-3, rel=2e-3), name


def test_bf16_drifts_from_fp32_within_bounds() -> None:
    logs = [train(build("hologan", precision=precision), 40, 4) for precision in ("fp32", "bf16")]
    tails = [[sum(log[name] for log in run[-20:]) / 20 for name in ("loss_d", "loss_g", "recognition")] for run in logs]
    for full, half in zip(*tails, strict=True):
        assert half == pytest.approx(full, rel=0.25, abs=0.1)


def test_no_rotation_trains_at_the_centre_of_the_prior() -> None:
    method = build("hologan", overrides={"train_rotation": "none"})
    azimuth, elevation = method._poses(5)
    assert (azimuth == PRIOR.azimuth[0]).all()
    assert (elevation == PRIOR.elevation[0]).all()


def test_pose_range_stretches_about_the_centre() -> None:
    wide, matched = (build("hologan", overrides={"pose_range": factor})._poses(64) for factor in (2.0, 1.0))
    for a, b, (centre, spread) in zip(wide, matched, (PRIOR.azimuth, PRIOR.elevation), strict=True):
        torch.testing.assert_close(a - centre, 2 * (b - centre))
        assert (b - centre).abs().max() <= spread + 1e-6


# --------------------------------------------------------------------------------------------- sampling and state
def test_latents_use_one_vector_for_shape_and_appearance(smoke: HoloGAN) -> None:
    latents = smoke.latents(6, _seed())
    assert latents.shape == (6, 2, 8)
    assert torch.equal(latents[:, 0], latents[:, 1])
    assert latents.abs().max() <= 1


def test_samples_follow_latents_and_cameras(smoke: HoloGAN) -> None:
    latents = smoke.latents(70, _seed())
    cameras = look_at(torch.linspace(-1, 1, 70), torch.zeros(70), PRIOR)
    drawn = smoke.sample(latents, cameras).rgb
    assert torch.equal(drawn, smoke.sample(latents, cameras).rgb)
    other = look_at(torch.linspace(1, -1, 70), torch.zeros(70), PRIOR)
    assert not torch.equal(drawn, smoke.sample(latents, other).rgb)
    assert torch.equal(smoke.sample(latents, None).rgb, smoke.sample(latents, None).rgb)
    assert not drawn.requires_grad


def test_state_round_trip_continues_bit_for_bit() -> None:
    overrides = {"spectral_norm": True, "d_norm": "instance"}
    one, two = build("hologan", overrides=overrides), build("hologan", overrides=overrides, seed=9)
    train(one, 2, 4)
    two.load_state_dict(copy.deepcopy(one.state_dict()))  # as a checkpoint would: torch's optimisers share tensors
    two.context.generator.set_state(one.context.generator.get_state())
    logs = [{k: float(v) for k, v in m.train_step(images(4, seed=3), 2).items()} for m in (one, two)]
    assert logs[0] == logs[1]
    for a, b in zip(one.generator.parameters(), two.generator.parameters(), strict=True):
        assert torch.equal(a, b)


def test_two_runs_of_one_seed_are_bit_identical() -> None:
    runs = [build("hologan", precision="bf16") for _ in range(2)]
    assert train(runs[0], 3, 4) == train(runs[1], 3, 4)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("projection", "concat", "hologan.projection: 'concat' is not one of"),
        ("widths_2d", [8], "hologan.widths_2d: draws 16-pixel images"),
        ("d_widths", [8] * 6, "hologan.d_widths: cannot halve 32 pixels 6 times"),
        ("g_steps", 0, "hologan.g_steps: must be positive"),
        ("identity_weight", -1.0, "hologan.identity_weight: must not be negative"),
    ],
)
def test_impossible_options_are_named(key: str, value: Any, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build("hologan", overrides={key: value})
    assert message in str(caught.value)


def test_data_without_a_pose_prior_are_refused() -> None:
    config = registry.methods()["hologan"].preset("smoke")
    with pytest.raises(ConfigError, match="prior"):
        HoloGAN(config, DataSpec("folder/ffhq", 32, {}), context())


def test_card_is_plain_yaml() -> None:
    entry = registry.methods()["hologan"]
    assert yaml.safe_load((entry.folder / "card.yaml").read_text())["controls_pose"] is True
