"""DepthGAN: published sizes, which loss moves which network, exact invariances, every switch, state."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
from torch import Tensor

from harness import registry
from harness.cameras import look_at
from harness.types import ConfigError, DataError, DataSpec, Unsupported
from methods.blocks.depth_warp import metric_depth
from methods.depthgan.discriminator import SwitchableDiscriminator
from methods.depthgan.generators import DualGenerator, SingleGenerator, angle_features
from methods.depthgan.losses import depth_classes, depth_prediction_loss
from methods.depthgan.method import DepthGAN, with_depth
from methods.depthgan.options import Options, parse
from tests.gan_bench import PRIOR, build, context, images


def _seed(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _batch(n: int = 4, seed: int = 0, size: int = 32) -> dict[str, Tensor]:
    """Smooth images and, as their depth, the brightness."""
    made = images(n, size, seed)
    return made | {"depth_coded": ((made["image"].mean(1) + 1) * 30000).long().clamp(0, 60000)}


def _train(method: Any, steps: int) -> list[dict[str, float]]:
    log = []
    for step in range(steps):
        log.append({name: float(value) for name, value in method.train_step(_batch(seed=step), step).items()})
        for average in method.averages:
            average.update(step)
    return log


def _options(tier: str, size: int, **overrides: Any) -> Options:
    return parse({**registry.methods()["depthgan"].preset(tier), **overrides}, size)


@pytest.fixture(scope="module")
def smoke() -> DepthGAN:
    """A trained smoke model that no test changes."""
    method = build("depthgan")
    _train(method, 2)
    return method


def _count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


# ------------------------------------------------------------------------------------------------ published sizes
@pytest.mark.parametrize(
    ("size", "geometry", "appearance", "discriminator", "fusion"),
    [(128, 24.79e6, 30.53e6, 30.08e6, 6_005_248), (256, 25.03e6, 30.80e6, 30.20e6, 6_030_080)],
)
def test_published_sizes(size: int, geometry: float, appearance: float, discriminator: float, fusion: int) -> None:
    options = _options("paper", size)
    with torch.device("meta"):  # shapes without numbers; meta has no generators
        generator = DualGenerator(options, size, None)  # type: ignore[arg-type]
        judge = SwitchableDiscriminator(options, size, None)  # type: ignore[arg-type]
    assert _count(generator.appearance.fusion) == fusion
    assert generator.geometry.angle is not None
    assert _count(generator.geometry.angle) == pytest.approx(0.267e6, rel=1e-3)
    assert _count(judge.head) == pytest.approx(6.20e6, rel=1e-3)
    for network, count in ((generator.geometry, geometry), (generator.appearance, appearance), (judge, discriminator)):
        assert _count(network) == pytest.approx(count, rel=1e-3)


def test_micro_sizes() -> None:
    method = build("depthgan", "micro")
    counts = [_count(method.generator.geometry), _count(method.generator.appearance), _count(method.discriminator)]
    assert [round(count / 1e6, 3) for count in counts] == [0.088, 0.100, 0.097]


# --------------------------------------------------------------------------------------------- angles and features
def test_angle_features_are_bounded_and_periodic() -> None:
    angle = torch.linspace(-3, 3, 7)
    features = angle_features(angle)
    assert features.shape == (7, 8)
    assert features.abs().max() <= 1
    torch.testing.assert_close(features[:, 0], angle.sin())
    torch.testing.assert_close(features[:, 7], (4 * angle).cos())


@pytest.mark.parametrize("injection", ["mul_w", "concat_z", "all_layers"])
def test_a_full_turn_changes_nothing_and_a_part_of_it_does(injection: str) -> None:
    network = build("depthgan", overrides={"angle_injection": injection}).generator.geometry.eval()
    codes, angle = torch.randn(3, 8, generator=_seed()), torch.tensor([-0.2, 0.0, 0.25])
    depth = network(codes, angle).depth
    torch.testing.assert_close(network(codes, angle + 2 * math.pi).depth, depth, atol=1e-4, rtol=1e-4)
    assert (network(codes, angle + 0.25).depth - depth).abs().mean() > 0.01


def test_the_angle_acts_on_the_first_three_convolutions_only() -> None:
    network = build("depthgan").generator.geometry
    seen: list[tuple[Tensor, Tensor]] = []
    network.synthesis.register_forward_pre_hook(
        lambda _, inputs, options: seen.append((inputs[0], options["image_ws"])), with_kwargs=True
    )
    codes, angle = torch.randn(2, 8, generator=_seed()), torch.tensor([0.1, 0.2])
    network(codes, angle)
    (turned, plain), styles = seen[0], network.styles(codes, angle)
    assert torch.equal(plain, styles)
    assert torch.equal(turned[:, 3:], styles[:, 3:])
    assert network.angle is not None
    code = network.angle(angle_features(angle))
    torch.testing.assert_close(turned[:, :3], styles[:, :3] * code[:, None])


def test_appearance_never_changes_depth_and_has_no_access_to_the_angle(smoke: DepthGAN) -> None:
    latents = smoke.latents(6, _seed())
    swapped = torch.stack((latents[:1, 0].expand(6, -1), latents[:, 1]), dim=1)
    cameras = look_at(torch.full((6,), 0.2), torch.zeros(6), PRIOR)
    drawn = smoke.sample(swapped, cameras)
    assert drawn.depth is not None
    assert torch.equal(drawn.depth, drawn.depth[:1].expand(6, -1, -1))
    assert (drawn.rgb[0] - drawn.rgb[1:]).abs().flatten(1).max(1).values.min() > 0
    network = smoke.average.module
    assert isinstance(network, DualGenerator)
    features = network.geometry(latents[:, 0], torch.linspace(-0.2, 0.2, 6)).features
    same = {index: x[:1].expand(6, -1, -1, -1) for index, x in features.items()}
    pictures = network.appearance(latents[:1, 1].expand(6, -1), same)
    torch.testing.assert_close(pictures, pictures[:1].expand(6, -1, -1, -1))


def test_fusion_that_reads_geometry_only_hides_the_other_convolutions() -> None:
    method = build("depthgan")
    network = method.generator.appearance
    with torch.no_grad():
        for layer in network.fusion:
            layer.first.weight[:, : layer.first.weight.shape[1] // 2] = 0
        for layer in network.synthesis.to_images:  # the pictures' own styles are the only way left
            layer.affine.weight.zero_()
    codes = torch.randn(2, 2, 8, generator=_seed())
    codes[1, 0] = codes[0, 0]
    rgb = method.generator(codes, torch.zeros(2)).rgb
    torch.testing.assert_close(rgb[0], rgb[1])


@pytest.mark.parametrize(("kind", "layers", "count"), [("all", 7, 7), ("low", 3, 3)])
def test_fusion_layers(kind: str, layers: int, count: int) -> None:
    network = build("depthgan", overrides={"fusion_layers": kind}).generator.appearance
    assert len(network.fusion) == layers == count
    assert float(network.fusion[0].first.weight.detach().std()) == pytest.approx(0.1, rel=0.2)


def test_without_fusion_the_picture_ignores_geometry() -> None:
    method = build("depthgan", overrides={"fusion": "none"})
    codes = torch.randn(2, 2, 8, generator=_seed())
    codes[1, 1] = codes[0, 1]
    made = method.generator(codes, torch.tensor([0.0, 0.2]))
    torch.testing.assert_close(made.rgb[0], made.rgb[1])
    assert not made.depth[0].equal(made.depth[1])


# --------------------------------------------------------------------------------------- switchable discriminator
@pytest.mark.parametrize("size", [32, 64, 128])
def test_shapes_of_both_heads(size: int) -> None:
    taps = [64, 32, 16] if size == 128 else [size, size // 2, size // 4]
    judge = SwitchableDiscriminator(_options("smoke", size, depth_taps=taps), size, _seed())
    pictures = torch.randn(2, 4, size, size, generator=_seed())
    assert judge.score(pictures).shape == (2,)
    assert judge.score(pictures[:, :3]).shape == (2,)
    assert judge.depth(pictures[:, :3]).shape == (2, 10, size, size)


def test_rgb_alone_is_judged_without_the_depth_stem_and_its_bias() -> None:
    method = build("depthgan")
    judge = method.discriminator
    pictures = torch.randn(4, 4, 32, 32, generator=_seed())
    assert judge.depth_stem is not None
    before = judge.score(pictures[:, :3]), judge.depth(pictures[:, :3]), judge.score(pictures)
    with torch.no_grad():
        judge.depth_stem.bias.add_(3.0)
    assert torch.equal(judge.score(pictures[:, :3]), before[0])
    assert torch.equal(judge.depth(pictures[:, :3]), before[1])
    assert not torch.equal(judge.score(pictures), before[2])
    judge.depth_stem = None  # the same network with the stem removed
    assert torch.equal(judge.score(pictures), before[0])


@pytest.mark.parametrize(
    ("stems", "d_input", "sees"), [("sum", "rgbd", True), ("concat4", "rgbd", True), ("sum", "rgb", False)]
)
def test_the_score_follows_depth_where_it_shall(stems: str, d_input: str, sees: bool) -> None:
    judge = build("depthgan", overrides={"stems": stems, "d_input": d_input}).discriminator
    pictures = torch.randn(4, 4, 32, 32, generator=_seed())
    other = torch.cat((pictures[:, :3], pictures[:, 3:] + 1), dim=1)
    assert torch.equal(judge.score(pictures), judge.score(other)) is not sees
    assert judge.depth(pictures[:, :3]).shape == (4, 10, 32, 32)


def test_depth_classes() -> None:
    coded = torch.tensor([-9.0, -1.0, -0.81, -0.79, 0.0, 0.99, 1.0, 9.0])
    assert depth_classes(coded, 10).tolist() == [0, 0, 0, 1, 5, 9, 9, 9]
    ordered = torch.linspace(-1.2, 1.2, 100)
    assert (depth_classes(ordered, 10).diff() >= 0).all()


def test_the_fresh_head_knows_nothing() -> None:
    method = build("depthgan", "micro")
    with torch.no_grad():
        fake = method.generator(torch.randn(16, 2, 64, generator=_seed()), torch.zeros(16))
        real = with_depth(_batch(16))
        for pictures, depth in ((fake.rgb, fake.depth[:, 0]), (real[:, :3], real[:, 3])):
            loss = depth_prediction_loss(method.discriminator.depth(pictures), depth, method.options)
            assert float(loss) == pytest.approx(math.log(10), rel=0.1)


def test_regression_compares_shares_of_the_range() -> None:
    options = _options("smoke", 32, depth_target="l1")
    loss = depth_prediction_loss(torch.full((2, 1, 4, 4), 0.75), torch.zeros(2, 4, 4), options)
    assert float(loss) == pytest.approx(0.25)


# -------------------------------------------------------------------------------------------------- the eight steps
ROUTES: list[tuple[str, tuple[str, ...]]] = [
    ("adversarial", ("geometry", "appearance")),
    ("depth_of_fakes", ("appearance",)),
    ("discriminate", ("discriminator",)),
    ("depth_of_reals", ("discriminator",)),
    ("penalise", ("discriminator",)),
]


def _learnt(method: DepthGAN) -> set[str]:
    """Networks that hold a gradient which is not zero."""
    return {
        name
        for name, owned in method.phases.parameters.items()
        if any(p.grad is not None and bool(p.grad.any()) for p in owned)
    }


@pytest.mark.parametrize(("phase", "learners"), ROUTES, ids=[name for name, _ in ROUTES])
def test_every_loss_moves_its_own_networks_only(phase: str, learners: tuple[str, ...]) -> None:
    method = build("depthgan")
    before = {name: [p.detach().clone() for p in owned] for name, owned in method.phases.parameters.items()}
    real = with_depth(_batch())
    argument: Any = 4 if phase in ("adversarial", "depth_of_fakes") else real
    getattr(method.phases, phase)(argument)
    assert _learnt(method) == set(learners)
    for name, owned in method.phases.parameters.items():
        frozen = name not in learners
        assert all(p.grad is None for p in owned) is frozen
        assert all(torch.equal(a, b) for a, b in zip(before[name], owned, strict=True)) is frozen


@pytest.mark.parametrize(
    ("weights", "learner"),
    [({"rot_rgb": 0.0}, "geometry"), ({"rot_depth": 0.0}, "appearance")],
    ids=["depth", "colour"],
)
def test_each_rotation_loss_moves_one_path(weights: dict[str, float], learner: str) -> None:
    method = build("depthgan", overrides=weights)
    method.phases.rotation(4)
    assert _learnt(method) == {learner}


def test_unused_heads_get_zero_gradients_so_that_their_moments_fade() -> None:
    method = build("depthgan")
    method.phases.discriminate(with_depth(_batch()))
    assert all(p.grad is not None and not p.grad.any() for p in method.discriminator.head.parameters())
    steps = [method.optimisers["discriminator"].state[p]["step"] for p in method.discriminator.head.parameters()]
    assert all(float(step) == 1 for step in steps)


def test_order_and_number_of_steps() -> None:
    method = build("depthgan", overrides={"path_weight": 2.0, "r1_every": 16})
    called: list[tuple[str, ...]] = []
    original = method.phases.step

    def recorded(*names: str) -> None:
        called.append(names)
        original(*names)

    method.phases.step = recorded
    method.train_step(_batch(), 0)
    both, geometry, appearance, judge = ("geometry", "appearance"), ("geometry",), ("appearance",), ("discriminator",)
    path = [geometry, appearance]
    assert called == [both, *path, geometry, appearance, appearance, judge, judge, judge]
    called.clear()
    method.train_step(_batch(), 1)
    assert called == [both, geometry, appearance, appearance, judge, judge]


def test_lazy_adam_per_network() -> None:
    method = build("depthgan", "paper", overrides={"channel_base": 64, "channel_max": 8}, resolution=64)
    settings = {name: optimiser.param_groups[0] for name, optimiser in method.optimisers.items()}
    for name in ("geometry", "appearance"):
        assert settings[name]["lr"] == pytest.approx(0.0012)
        assert settings[name]["betas"] == (0.0, pytest.approx(0.99**0.8))
    assert settings["discriminator"]["lr"] == pytest.approx(0.001412, rel=1e-3)
    assert settings["discriminator"]["betas"][1] == pytest.approx(0.99 ** (16 / 17))


def test_gradients_are_cleaned_before_a_step() -> None:
    method = build("depthgan")
    weight = method.generator.geometry.synthesis.constant
    weight.grad = torch.full_like(weight, math.nan)
    weight.grad[0, 0, 0, :3] = torch.tensor([math.inf, -2e5, 3.0])
    method.phases.step("geometry")
    assert weight.grad is not None
    assert weight.grad[0, 0, 0].tolist() == [1e5, -1e5, 3.0, 0.0]


def test_pairs_show_one_scene_twice_and_share_styles_where_they_shall() -> None:
    official, paired = (
        build("depthgan", overrides={"share_mixing": kind}).phases.draw_pairs(4) for kind in ("official", "pair")
    )
    for draw in (official, paired):
        assert torch.equal(draw.codes[:2], draw.codes[2:])
        assert not torch.equal(draw.angle[:2], draw.angle[2:])
        assert draw.mixing is not None
    assert torch.equal(paired.mixing.codes[:2], paired.mixing.codes[2:])
    assert not torch.equal(official.mixing.codes[:2], official.mixing.codes[2:])


def test_angles_are_the_prior_s_stretched() -> None:
    wide, matched = (build("depthgan", overrides={"angle_range": k}).phases.draw(64).angle for k in (2.0, 1.0))
    torch.testing.assert_close(wide, 2 * matched)
    assert matched.abs().max() <= PRIOR.azimuth[1]


def test_the_focal_length_is_the_camera_s_unless_given() -> None:
    assert build("depthgan").phases.focal == pytest.approx(16 / math.tan(PRIOR.fov / 2))
    assert build("depthgan", overrides={"focal": 2.03}).phases.focal == pytest.approx(2.03 * 32)


def test_the_running_mean_of_styles_follows_every_training_pass() -> None:
    method = build("depthgan")
    method.phases.adversarial(4)
    once = method.generator.geometry.mapping.average.clone()
    method.phases.discriminate(with_depth(_batch()))
    assert not torch.equal(once, method.generator.geometry.mapping.average)
    kept = method.average.module.geometry.mapping.average.clone()
    method.sample(method.latents(2, _seed()), None)
    assert torch.equal(kept, method.average.module.geometry.mapping.average)


# ------------------------------------------------------------------------------------------------------- switches
SWITCHES: list[dict[str, Any]] = [
    {"single_generator": "rgbd"},
    {"single_generator": "rgbd", "path_weight": 2.0, "style_mixing": 0.0},
    {"angle_injection": "concat_z"},
    {"angle_injection": "all_layers"},
    {"fusion": "add"},
    {"fusion": "film"},
    {"fusion": "none"},
    {"fusion_layers": "low"},
    {"d_input": "rgb"},
    {"stems": "concat4"},
    {"depth_target": "l1"},
    {"rot_depth": 0.0, "rot_rgb": 0.0},
    {"d_depth": 0.0, "g_depth": 0.0},
    {"share_pairs": True},
    {"rotation_every": 2},
    {"occlusion_aware": True, "half_pixel": "official"},
    {"share_mixing": "official"},
    {"modulation": "grouped", "folded": True, "channels_last": False},
]


@pytest.mark.parametrize("overrides", SWITCHES, ids=lambda o: ",".join(f"{k}={v}" for k, v in o.items()))
def test_every_switch_steps_and_samples(overrides: dict[str, Any]) -> None:
    method = build("depthgan", overrides=overrides)
    for log in _train(method, 2):
        assert all(math.isfinite(value) for value in log.values())
    drawn = method.sample(method.latents(2, _seed()), None)
    assert drawn.depth is not None
    assert drawn.rgb.isfinite().all()
    assert drawn.depth.min() >= 0.01


def test_a_lazy_rotation_skips_steps() -> None:
    logs = _train(build("depthgan", overrides={"rotation_every": 2}), 2)
    assert "rot_depth" in logs[0]
    assert "rot_depth" not in logs[1]


def test_one_generator_draws_both_from_the_first_code() -> None:
    method = build("depthgan", overrides={"single_generator": "rgbd"})
    assert isinstance(method.generator, SingleGenerator)
    latents = method.latents(2, _seed())
    latents[1, 0] = latents[0, 0]
    drawn = method.sample(latents, look_at(torch.zeros(2), torch.zeros(2), PRIOR))
    assert torch.equal(drawn.rgb[0], drawn.rgb[1])


# ------------------------------------------------------------------------------------------- sampling and scoring
def test_samples_follow_latents_and_cameras(smoke: DepthGAN) -> None:
    latents = smoke.latents(70, _seed())
    assert latents.shape == (70, 2, 8)
    cameras = look_at(torch.linspace(-0.26, 0.26, 70), torch.zeros(70), PRIOR)
    drawn = smoke.sample(latents, cameras)
    assert drawn.depth is not None
    assert drawn.rgb.equal(smoke.sample(latents, cameras).rgb)
    other = look_at(torch.linspace(0.26, -0.26, 70), torch.ones(70), PRIOR)
    assert not drawn.rgb.equal(smoke.sample(latents, other).rgb)
    higher = look_at(torch.linspace(-0.26, 0.26, 70), torch.ones(70), PRIOR)
    assert drawn.rgb.equal(smoke.sample(latents, higher).rgb)
    assert smoke.sample(latents, None).rgb.equal(smoke.sample(latents, None).rgb)


def test_depth_is_in_metres_and_positive() -> None:
    config = registry.methods()["depthgan"].preset("smoke")
    method = DepthGAN(config, DataSpec("rooms", 32, {}, prior=PRIOR, options={"depth_unit": 5.4}), context())
    latents, cameras = method.latents(2, _seed()), look_at(torch.zeros(2), torch.zeros(2), PRIOR)
    coded = method.average.module(latents, torch.zeros(2)).depth[:, 0]
    depth = method.sample(latents, cameras).depth
    assert depth is not None
    torch.testing.assert_close(depth, metric_depth(coded).clamp_min(0.01) * 5.4)


def test_styles_are_an_intermediate_stop(smoke: DepthGAN) -> None:
    latents, cameras = smoke.latents(3, _seed()), look_at(torch.tensor([-0.2, 0.0, 0.2]), torch.zeros(3), PRIOR)
    styles = smoke.styles(latents)
    assert styles.shape == (3, 16, 8)
    assert smoke.mean_style().shape == (16, 8)
    torch.testing.assert_close(smoke.render_styles(styles, cameras).rgb, smoke.sample(latents, cameras).rgb)
    middle = smoke.mean_style().expand(2, -1, -1)
    rgb = smoke.render_styles(middle, look_at(torch.zeros(2), torch.zeros(2), PRIOR)).rgb
    torch.testing.assert_close(rgb[0], rgb[1])
    with pytest.raises(Unsupported, match="concat_z"):
        build("depthgan", overrides={"angle_injection": "concat_z"}).styles(latents)


def test_the_discriminator_is_asked_in_training_batches(smoke: DepthGAN) -> None:
    pictures = with_depth(_batch(10))
    logits = smoke.discriminate(pictures)
    assert logits.shape == (10,)
    assert torch.equal(logits[:4], smoke.discriminate(pictures[:4]))
    assert smoke.discriminate(pictures[:, :3]).shape == (10,)
    assert len(smoke.discriminate(pictures[:0])) == 0
    predicted = smoke.depth_logits(pictures[:, :3])
    assert predicted.shape == (10, smoke.depth_bins, 32, 32)
    torch.testing.assert_close(smoke.depth_logits(pictures[:2, :3]), predicted[:2])
    with pytest.raises(Unsupported, match="no bins"):
        build("depthgan", overrides={"depth_target": "l1"}).depth_logits(pictures[:, :3])


# -------------------------------------------------------------------------------------------------- state, errors
def test_averages_start_as_copies() -> None:
    method = build("depthgan")
    for live, averaged in zip(method.generator.parameters(), method.average.module.parameters(), strict=True):
        assert torch.equal(live, averaged)


def test_state_round_trip_continues_bit_for_bit() -> None:
    overrides = {"path_weight": 2.0}
    one, two = build("depthgan", overrides=overrides), build("depthgan", overrides=overrides, seed=9)
    _train(one, 2)
    two.load_state_dict(copy.deepcopy(one.state_dict()))  # as a checkpoint would: torch's optimisers share tensors
    two.context.generator.set_state(one.context.generator.get_state())
    logs = [{k: float(v) for k, v in m.train_step(_batch(seed=3), 2).items()} for m in (one, two)]
    assert logs[0] == logs[1]
    for a, b in zip(one.generator.parameters(), two.generator.parameters(), strict=True):
        assert torch.equal(a, b)


def test_two_runs_of_one_seed_are_bit_identical_and_bf16_stays_near_fp32() -> None:
    runs = [_train(build("depthgan", precision="bf16"), 3) for _ in range(2)]
    assert runs[0] == runs[1]
    full = _train(build("depthgan"), 3)
    for name in ("loss_g", "loss_d", "d_depth", "rot_depth"):
        assert runs[0][2][name] == pytest.approx(full[2][name], rel=0.1, abs=0.02)


def test_a_batch_without_depth_is_refused() -> None:
    method = build("depthgan")
    with pytest.raises(DataError, match="no depth"):
        method.train_step(images(4), 0)
    with pytest.raises(DataError, match="does not fit"):
        method.train_step(images(4) | {"depth_coded": torch.zeros(4, 16, 16, dtype=torch.int64)}, 0)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("fusion", "concat", "depthgan.fusion: 'concat' is not one of"),
        ("depth_taps", [32, 8], "depthgan.depth_taps: must be sizes that halve"),
        ("depth_taps", [64, 32], "depthgan.depth_taps: must be sizes that halve"),
        ("rotation_every", 0, "depthgan.rotation_every: must be positive"),
        ("rot_depth", -1.0, "depthgan.rot_depth: must not be negative"),
        ("mbstd_group", 3, "cannot be cut into groups of 3"),
        ("batch_size", 1, "depthgan.batch_size: rotation needs pairs"),
        ("style_mixing", 1.5, "depthgan.style_mixing: is a probability"),
    ],
)
def test_impossible_options_are_named(key: str, value: Any, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build("depthgan", overrides={key: value})
    assert message in str(caught.value)


def test_data_without_a_pose_prior_are_refused() -> None:
    config = registry.methods()["depthgan"].preset("smoke")
    with pytest.raises(ConfigError, match="prior"):
        DepthGAN(config, DataSpec("rooms", 32, {}), context())
