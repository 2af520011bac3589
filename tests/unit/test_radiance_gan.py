"""Training of radiance-field GANs: phases, guides, poses, schedules, state; on the smoke preset of ``triplane``."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
from torch import Tensor

from harness import registry
from harness.cameras import look_at, mirrored, sample_cameras
from harness.types import ConfigError, Generates, RadianceField, SceneRenders
from methods.blocks.density_variation import DEVIATION, density_variation
from methods.blocks.dynamic_scheme import parse_dynamic
from methods.blocks.image_blur import blur_at, blurred
from methods.blocks.pose_discriminator import POSE, PoseMapping, pose_label, told_poses
from methods.blocks.pose_swapping import swap_probability, swapped
from methods.blocks.style_discriminator import StyleDiscriminator
from methods.blocks.style_options import StyleOptions
from methods.blocks.views import Views, together
from methods.dynamicd.options import parse
from tests.gan_bench import PRIOR, build, images
from tests.unit.test_dynamicd import OWN, flat, same

UPSAMPLED: dict[str, Any] = {
    "super_resolution": True,
    "rays": [16],
    "ray_shares": [1.0],
    "dual": True,
    "feature_channels": 8,
}
UPSAMPLED |= {"sr_channels": [8, 8], "g_pose": True, "swap_kimg": 1, "tv_weight": 0.25, "blur_sigma": 2.0}
UPSAMPLED |= {"blur_kimg": 1, "reuse_fakes": False, "style_mixing": 0.9}


def batch(step: int, n: int = 4) -> dict[str, Tensor]:
    pose = torch.rand(n, 3, generator=torch.Generator().manual_seed(step)) - 0.5
    return {**images(n, seed=step), "pose": pose}


def train(method: Any, steps: range) -> list[dict[str, float]]:
    log = []
    for step in steps:
        values = method.train_step(batch(step), step)
        for average in method.averages:
            average.update(step)
        log.append({name: float(value) for name, value in values.items()})
    return log


def made(name: str = "triplane", **given: Any) -> Any:
    return build(name, "smoke", given)


@pytest.mark.parametrize(("n", "group"), [(4, 4), (8, 4), (8, 1), (6, 2), (2, 4)])
def test_one_pass_mixes_no_fakes_and_reals_in_a_group(n: int, group: int) -> None:
    def views(value: float) -> Views:
        numbers = value + torch.arange(n, dtype=torch.float32)
        return Views(numbers[:, None, None, None].expand(n, 3, 2, 2), None, numbers[:, None])

    both, order = together(views(0), views(100), group)
    size = min(group, n)
    real = (both.label[:, 0] >= 100).view(size, -1)
    assert (real == real[0]).all()
    assert 2 * real[0].sum() == len(real[0])
    assert torch.equal(both.rgb[:, 0, 0, 0], both.label[:, 0])
    assert torch.equal(both.label[order.argsort(), 0], torch.cat((views(0).label, views(100).label))[:, 0])
    assert both.raw is None


def test_one_pass_of_the_discriminator_equals_two() -> None:
    """With every image a group of its own; groups as such differ in who is in them."""
    one, two = (made(d_passes=passes, mbstd_group=1, d_lr=1e-3) for passes in (1, 2))
    for method in (one, two):
        real = method._real(batch(0))
        with torch.no_grad():
            fakes = method._views(*method._draw(4))
        method.log = method._step_d(real, fakes)
    assert one.log.keys() == two.log.keys()
    for name, value in one.log.items():
        torch.testing.assert_close(value, two.log[name], atol=1e-5, rtol=1e-4)
    for (name, a), (_, b) in zip(
        one.discriminator.named_parameters(), two.discriminator.named_parameters(), strict=True
    ):
        torch.testing.assert_close(a.grad, b.grad, atol=1e-5, rtol=1e-3, msg=name)


# ------------------------------------------------------------------------------------------------------- guides
def test_guides_are_asked_once_a_step_and_reach_the_generator() -> None:
    plain, guided = made(), made()
    seen: list[tuple[int, tuple[int, ...], tuple[int, ...], bool]] = []

    def guide(renders: SceneRenders, step: int) -> Tensor:
        seen.append((step, tuple(renders.rgb.shape), tuple(renders.depth.shape), renders.depth.requires_grad))
        other = renders.again(look_at(torch.zeros(4), torch.zeros(4), PRIOR))
        assert other.opacity.requires_grad
        assert other.cameras.azimuth.abs().max() == 0
        return 10 * other.opacity.mean() + renders.rgb.mean()

    guided.guides.append(guide)
    logs = [train(method, range(2)) for method in (plain, guided)]
    assert seen == [(0, (4, 3, 32, 32), (4, 16, 16), True), (1, (4, 3, 32, 32), (4, 16, 16), True)]
    assert "guidance" in logs[1][0]
    assert "guidance" not in logs[0][0]
    assert logs[0][0]["loss_g"] == logs[1][0]["loss_g"]  # the adversarial loss alone, at equal weights
    assert not same(plain.generator.state_dict(), guided.generator.state_dict())


def test_a_guide_without_weight_changes_nothing() -> None:
    plain, guided = made(), made()
    guided.guides.append(lambda renders, step: renders.rgb.mean() * 0)
    for method in (plain, guided):
        train(method, range(3))
    assert same(plain.state_dict(), guided.state_dict())


def test_a_guide_lowers_what_it_measures() -> None:
    method = made(warmup_steps=0)
    method.guides.append(lambda renders, step: 100 * renders.opacity.mean())
    log = train(method, range(12))
    assert log[-1]["opacity"] < 0.9 * log[0]["opacity"]


# -------------------------------------------------------------------------------------------------------- state
@pytest.mark.parametrize(("name", "given"), [("triplane", {}), ("triplane", UPSAMPLED), ("dynamicd_3d", {})])
def test_a_resumed_training_goes_on_bit_for_bit(name: str, given: dict[str, Any]) -> None:
    whole, first = made(name, **given), made(name, **given)
    train(whole, range(4))
    train(first, range(2))
    second = made(name, **given)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    second.context.generator.set_state(first.context.generator.get_state())
    train(second, range(2, 4))
    assert same(whole.state_dict(), second.state_dict())


# ---------------------------------------------------------------------------------------------- dynamicd_3d
@pytest.mark.parametrize("given", [{"scheme": "none"}, {"scheme": "constant", "r_start": 1.0}])
def test_a_full_discriminator_trains_as_the_base_does(given: dict[str, Any]) -> None:
    base, dynamic = made(), made("dynamicd_3d", **given)
    assert [{k: v for k, v in row.items() if k != "ratio"} for row in train(dynamic, range(3))] == train(base, range(3))
    theirs, ours = (flat(method.state_dict()) for method in (base, dynamic))
    assert theirs.keys() == ours.keys()
    assert same(base.state_dict(), dynamic.state_dict())


def test_part_of_a_discriminator_draws_the_same_fakes() -> None:
    base, dynamic = made(), made("dynamicd_3d", scheme="constant", r_start=0.5)
    first, second = train(base, range(1)), train(dynamic, range(1))
    assert second[0]["ratio"] == 0.5
    assert first[0]["opacity"] == second[0]["opacity"]
    assert first[0]["logit_real"] != second[0]["logit_real"]


@pytest.mark.parametrize(("given", "passes"), [({"scheme": "decrease"}, 2), ({"scheme": "increase"}, 1)])
def test_fakes_and_reals_are_judged_by_channels_of_their_own(given: dict[str, Any], passes: int) -> None:
    method = made("dynamicd_3d", **given)
    drawn: list[int] = []
    draw = method.discriminator.width.draw
    method.discriminator.width.draw = lambda: (drawn.append(1), draw())[1]
    train(method, range(1, 2))  # without R1
    assert method.options.d_passes == passes
    assert len(drawn) == 1 + passes


@pytest.mark.parametrize("layers", [2, 8])
def test_a_part_of_the_discriminator_is_a_network_that_knows_poses_too(layers: int) -> None:
    method = made("dynamicd_3d", scheme="constant", r_start=0.5, d_pose_layers=layers)
    shown = method._real(batch(0))
    whole = method.discriminator.eval()
    method.discriminator.set_ratio(0.5)
    part = whole.extract_subnet(0.5)
    torch.testing.assert_close(part(shown.rgb, shown.label), whole(shown.rgb, shown.label), atol=1e-5, rtol=1e-4)
    assert sum(p.numel() for p in part.parameters()) < sum(p.numel() for p in whole.parameters())
    assert not part(shown.rgb, shown.label).equal(part(shown.rgb, -shown.label))


@pytest.mark.parametrize("tier", ["smoke", "micro", "small", "paper"])
def test_presets_are_those_of_the_base(tier: str) -> None:
    mine, base = (registry.methods()[name].preset(tier) for name in ("dynamicd_3d", "triplane"))
    assert set(mine) - set(base) == OWN
    assert {key: mine[key] for key in base} == base


@pytest.mark.parametrize("given", [{}, {"scheme": "decrease"}, {"scheme": "constant", "r_start": 0.75}])
def test_schemes_are_those_of_dynamicd(given: dict[str, Any]) -> None:
    config = {**registry.methods()["dynamicd"].preset("micro"), **given}
    assert parse_dynamic(config, "dynamicd")[1] == parse(config)[1]
    with pytest.raises(ConfigError, match=r"dynamicd_3d\.r_start"):
        parse_dynamic({**config, "r_start": 2.0}, "dynamicd_3d")


# -------------------------------------------------------------------------------------------------------- poses
def test_the_label_of_a_mirrored_image_is_that_of_the_mirrored_camera() -> None:
    azimuth, elevation = torch.tensor([0.3, -0.2]), torch.tensor([0.1, 0.2])
    torch.testing.assert_close(
        pose_label(look_at(-azimuth, elevation, PRIOR)), pose_label(mirrored(look_at(azimuth, elevation, PRIOR)))
    )


def test_real_images_are_mirrored_with_their_poses() -> None:
    method, given = made(), batch(0, 64)
    shown = method._real(given)
    at_rest = pose_label(look_at(given["pose"][:, 0], given["pose"][:, 1], PRIOR))
    turned = (shown.label != at_rest).any(1)
    assert 10 < int(turned.sum()) < 54
    kept = made(flip=False)._real(given).rgb
    assert shown.rgb[~turned].equal(kept[~turned])
    torch.testing.assert_close(shown.rgb[turned], kept[turned].flip(3))


def test_the_discriminator_hears_the_pose() -> None:
    generator = torch.Generator().manual_seed(0)
    options = StyleOptions(channel_base=64, channel_max=8, mbstd_group=1, mapping_rate=0.5)
    network = told_poses(StyleDiscriminator(options, 16, generator, classes=POSE), 2, generator)
    cameras = sample_cameras(PRIOR, 2, generator)
    pair = torch.randn(1, 3, 16, 16, generator=generator).expand(2, -1, -1, -1)
    logits = network(pair, pose_label(cameras))
    assert logits.shape == (2,)
    assert logits[0] != logits[1]
    with pytest.raises(ConfigError, match="camera"):
        network(pair)
    with pytest.raises(ConfigError, match="classes"):
        told_poses(StyleDiscriminator(options, 16, generator), 2, generator)


def test_a_mapping_network_of_latents_and_poses() -> None:
    generator = torch.Generator().manual_seed(0)
    network = PoseMapping(6, 4, 2, 1.0, POSE, generator)
    z, pose = torch.randn(3, 6, generator=generator), torch.randn(3, POSE, generator=generator)
    assert network(z, pose).shape == (3, 4)
    torch.testing.assert_close(network(2 * z, pose), network(z, pose))  # latents are normalised
    assert not torch.allclose(network(z, pose), network(z, pose.roll(1, 0)))


def test_swapping() -> None:
    generator, labels = torch.Generator().manual_seed(0), torch.arange(8.0)[:, None].expand(-1, POSE)
    assert swapped(labels, 0.0, generator).equal(labels)
    assert swapped(labels, 1.0, generator).equal(labels.roll(1, 0))
    half = swapped(torch.arange(2000.0)[:, None], 0.5, generator)[:, 0]
    assert 0.45 < (half != torch.arange(2000.0)).float().mean() < 0.55
    assert [swap_probability(n, 0.5, 1) for n in (0, 500, 1000, 5000)] == [1.0, 0.75, 0.5, 0.5]
    assert swap_probability(0, 0.8, 0) == 0.8


# ---------------------------------------------------------------------------------------------------- schedules
def test_blur() -> None:
    assert [blur_at(n, 10.0, 200) for n in (0, 100_000, 200_000, 300_000)] == [10.0, 5.0, 0.0, 0.0]
    assert blur_at(0, 10.0, 0) == 0.0
    point = torch.zeros(1, 2, 33, 33)
    point[:, :, 16, 16] = 1.0
    seen = blurred(point, 2.0)
    torch.testing.assert_close(seen.sum((2, 3)), torch.ones(1, 2))
    torch.testing.assert_close(seen[0, 0, 16, 18] / seen[0, 0, 16, 16], torch.tensor(0.5))  # 2^-(2/2)^2
    assert blurred(point, 0.2) is point


def test_rays_and_rates_follow_the_step() -> None:
    method = made(warmup_steps=4)
    full = [group["lr"] / 0.25 for group in method.optimiser_g.param_groups]
    rays, rates = [], []
    for step in (0, 29, 30, 99):
        method._at(step)
        rays.append(method.rays)
        rates.append([group["lr"] for group in method.optimiser_g.param_groups])
    assert rays == [16, 16, 32, 32]
    torch.testing.assert_close(rates[-1], full)
    o = method.options
    assert full == pytest.approx([o.lr, o.slow_lr])
    k = o.r1_every / (o.r1_every + 1)
    assert method.optimiser_d.param_groups[0]["lr"] == pytest.approx(o.d_lr * k)


def test_young_stages_show_reals_as_coarse_as_fakes() -> None:
    method = made(flip=False)
    coarse = method._real(batch(0)).rgb
    expected = torch.nn.functional.interpolate(
        torch.nn.functional.interpolate(batch(0)["image"], 16, mode="bilinear", align_corners=False, antialias=True),
        32,
        mode="bilinear",
        align_corners=False,
    )
    assert coarse.equal(expected)
    method._at(99)
    assert method._real(batch(0)).rgb.equal(batch(0)["image"])


# -------------------------------------------------------------------------------------------------- regularisers
def test_variation_of_known_densities() -> None:
    generator = torch.Generator().manual_seed(0)
    slope = torch.tensor([3.0, 0.0, 4.0])

    def flat_field(points: Tensor, _: Tensor) -> tuple[Tensor, Tensor]:
        return torch.full(points.shape[:2], 7.0), points

    def ramp(points: Tensor, _: Tensor) -> tuple[Tensor, Tensor]:
        return points @ slope, points

    assert density_variation(flat_field, 3, generator) == 0
    expected = DEVIATION * 5 * math.sqrt(2 / math.pi)
    assert float(density_variation(ramp, 16, generator)) == pytest.approx(expected, rel=0.03)


def test_dual_discrimination() -> None:
    method = made(**UPSAMPLED)
    real = method._real(batch(0))
    assert real.raw is not None
    assert real.raw.shape == (4, 3, 16, 16)
    log = train(method, range(1))[0]
    assert {"density_tv", "r1"} <= set(log)
    # R1 sees the raw image too: a discriminator that reads nothing else still has a slope.
    with torch.no_grad():
        method.discriminator.layers[0][1].weight[:, :3] = 0
    assert float(method._step_r1(real)["r1"]) > 0


# ------------------------------------------------------------------------------------------------------ scoring
@pytest.mark.parametrize("given", [{}, UPSAMPLED])
def test_sampling_is_rendering_codes(given: dict[str, Any]) -> None:
    method = made(**given, eval_batch=2)
    assert all(isinstance(method, kind) for kind in (Generates, RadianceField))
    generator = torch.Generator().manual_seed(3)
    z, cameras = method.latents(3, generator), sample_cameras(PRIOR, 3, generator)
    codes = method.codes(z)
    seen, whole = method.sample(z, cameras), method.render_codes(codes, cameras)
    torch.testing.assert_close(seen.rgb, whole.rgb)
    assert seen.depth is not None
    assert seen.mask is not None
    assert seen.depth.shape == seen.rgb[:, 0].shape
    empty = seen.mask < 1e-6
    assert empty.any()
    assert bool((seen.depth[empty] == cameras.far).all())
    shown = seen.depth[seen.mask > 0.5]
    assert bool(((shown > cameras.near) & (shown < cameras.far)).all())
    assert method.mean_code().shape == codes.shape[1:]
    wanted = codes.clone().requires_grad_(True)
    method.render_codes(wanted, cameras).rgb.square().mean().backward()
    assert wanted.grad is not None
    assert float(wanted.grad.abs().max()) > 0
    assert all(p.grad is None for p in method.average.module.parameters())


def test_density() -> None:
    method = made()
    codes = method.codes(method.latents(2, torch.Generator().manual_seed(0)))
    points = torch.tensor([[0.0, 0.0, 0.0], [0.9, 0.0, 0.9]]).expand(2, -1, -1)
    density = method.density(codes, points)
    assert density.shape == (2, 2)
    assert not density.requires_grad
    assert bool((density[:, 0] > 1).all())
    assert bool((density[:, 1] == 0).all())


# ------------------------------------------------------------------------------------------------------ options
@pytest.mark.parametrize(
    ("given", "where"),
    [
        ({"samples": 1}, "samples"),
        ({"fine_samples": 4, "samples": 2}, "samples"),
        ({"rays": [32, 16]}, "rays"),
        ({"rays": [16, 64]}, "rays"),
        ({"rays": [16]}, "ray_shares"),
        ({"rays": [8, 16]}, "super_resolution"),
        ({"dual": True}, "super_resolution"),
        ({"background": [0.5]}, "background"),
        ({"ray_range": [0.5, -0.5]}, "ray_range"),
        ({"mbstd_group": 3}, "mbstd_group"),
        ({"r1_share": 1.5}, "r1_share"),
        ({"swap_floor": -0.1}, "swap_floor"),
        ({"lr": 0.0}, "lr"),
        ({"tv_weight": -1.0}, "tv_weight"),
        ({"path_weight": 2.0}, "path_weight"),
        ({"pose_prior": "narrow"}, "pose_prior"),
    ],
)
def test_settings_that_cannot_work(given: dict[str, Any], where: str) -> None:
    with pytest.raises(ConfigError, match=rf"triplane\.{where}"):
        made(**given)


def test_poses_are_asked_for_where_they_are_told() -> None:
    kind = type(made())
    assert kind.supervision({"d_pose": True}) == ("pose",)
    assert kind.supervision({"d_pose": False}) == ()
    made(d_pose=False).train_step(images(4), 0)
