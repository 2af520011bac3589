"""DepthGAN: which loss moves which network, every switch, sampling and state."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch

from harness import registry
from harness.cameras import look_at
from harness.types import ConfigError, DataError, DataSpec, Unsupported
from methods.blocks.depth_warp import metric_depth
from methods.depthgan.generators import SingleGenerator
from methods.depthgan.method import DepthGAN, with_depth
from tests import depthgan_bench
from tests.gan_bench import PRIOR, build, context, images


def _seed(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def smoke() -> DepthGAN:
    """A trained smoke model that no test changes."""
    return depthgan_bench.trained()


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
    real = with_depth(depthgan_bench.batch())
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
    method.phases.discriminate(with_depth(depthgan_bench.batch()))
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
    method.train_step(depthgan_bench.batch(), 0)
    both, geometry, appearance, judge = ("geometry", "appearance"), ("geometry",), ("appearance",), ("discriminator",)
    path = [geometry, appearance]
    assert called == [both, *path, geometry, appearance, appearance, judge, judge, judge]
    called.clear()
    method.train_step(depthgan_bench.batch(), 1)
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
    method.phases.discriminate(with_depth(depthgan_bench.batch()))
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
    for log in depthgan_bench.train(method, 2):
        assert all(math.isfinite(value) for value in log.values())
    drawn = method.sample(method.latents(2, _seed()), None)
    assert drawn.depth is not None
    assert drawn.rgb.isfinite().all()
    assert drawn.depth.min() >= 0.01


def test_a_lazy_rotation_skips_steps() -> None:
    logs = depthgan_bench.train(build("depthgan", overrides={"rotation_every": 2}), 2)
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
    pictures = with_depth(depthgan_bench.batch(10))
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
    depthgan_bench.train(one, 2)
    two.load_state_dict(copy.deepcopy(one.state_dict()))  # as a checkpoint would: torch's optimisers share tensors
    two.context.generator.set_state(one.context.generator.get_state())
    logs = [{k: float(v) for k, v in m.train_step(depthgan_bench.batch(seed=3), 2).items()} for m in (one, two)]
    assert logs[0] == logs[1]
    for a, b in zip(one.generator.parameters(), two.generator.parameters(), strict=True):
        assert torch.equal(a, b)


def test_two_runs_of_one_seed_are_bit_identical_and_bf16_stays_near_fp32() -> None:
    runs = [depthgan_bench.train(build("depthgan", precision="bf16"), 3) for _ in range(2)]
    assert runs[0] == runs[1]
    full = depthgan_bench.train(build("depthgan"), 3)
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
