"""GeoD: the order of a step, who learns from what, schedules, guidance, state, and what a base must bring."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from harness import registry
from harness.cameras import look_at
from harness.types import ConfigError, RadianceField, ReadsDepth
from methods.blocks.depth_normals import depth_normals
from methods.geod.guidance import depth_loss, normal_loss, rendered_geometry
from methods.geod.heads import build_head, reading_errors
from methods.geod.method import GeoD
from methods.geod.options import parse
from methods.geod.schedule import Clock, Ramp
from tests import gan_bench
from tests.geod_bench import DATA, OWN, PRIOR, SIDE, CardBase, alone, batch, disc, over, over_card, scene


def weights(module: torch.nn.Module) -> list[Tensor]:
    return [tensor.clone() for tensor in module.state_dict().values()]


def equal(a: list[Tensor], b: list[Tensor]) -> bool:
    return all(x.equal(y) for x, y in zip(a, b, strict=True))


def guided(**overrides: Any) -> Any:
    """GeoD over the card, guided from its first step on; its head takes everything for the object's."""
    method = over_card(geo_t0=0.0, geo_t1=0.0, **overrides)
    if hasattr(method.head, "network"):
        method.head.network.head.bias.data.fill_(1.0)
    return method


# ----------------------------------------------------------------------------------------------------- the base
def test_a_base_without_a_field_is_refused_with_a_remedy() -> None:
    class Flat:
        def __init__(self, config: Any, data: Any, context: Any) -> None:
            pass

    with pytest.raises(ConfigError, match=r"geod\.base: Flat renders neither depth nor density.*radiance_field"):
        GeoD(OWN, DATA, replace(gan_bench.context(), base=Flat))
    with pytest.raises(ConfigError, match="no base was lent"):
        GeoD(OWN, DATA, gan_bench.context())
    with pytest.raises(ConfigError, match="needs a pose prior"):
        GeoD(OWN, replace(DATA, prior=None), replace(gan_bench.context(), base=CardBase))


def test_geod_is_a_radiance_field_itself() -> None:
    method = over_card()
    assert isinstance(method, RadianceField)
    assert isinstance(method, ReadsDepth)
    assert method.averages == ()
    assert method.read_depth(torch.zeros(3, 3, SIDE, SIDE)).shape == (3, SIDE, SIDE)
    assert method.read_depth(torch.zeros(0, 3, SIDE, SIDE)).shape == (0, SIDE, SIDE)


@pytest.mark.parametrize("base", ["pigan", "triplane", "volumegan"])
def test_before_the_ramp_a_base_is_trained_as_without_geod(base: str) -> None:
    method, plain = over(base, steps=100), alone(base, steps=100)
    for step in range(2):
        shown = batch(method.context.batch_size, 32, step)
        method.train_step(shown, step)
        plain.train_step(shown, step)
    assert equal(weights(method.base.generator), weights(plain.generator))
    assert equal(weights(method.base.discriminator), weights(plain.discriminator))
    assert method.context.generator.get_state().equal(plain.context.generator.get_state())
    assert not equal(weights(method.head), weights(over(base, steps=100).head))


@pytest.mark.parametrize("base", ["pigan", "triplane", "volumegan"])
def test_every_base_takes_guided_steps_with_novel_views(base: str) -> None:
    method = over(base, geo_t0=0.0, geo_t1=0.0, nvs="warp_gen_depth", nvs_every=1)
    plain = over(base, geo_t0=1.0, geo_t1=1.0)
    for step in (1, 2):
        shown = batch(method.context.batch_size, 32, step)
        log = method.train_step(shown, step)
        plain.train_step(shown, step)
        assert {"l_geo", "l_nvs"} <= set(log)
        assert all(math.isfinite(float(value)) and not value.requires_grad for value in log.values())
    assert not equal(weights(method.base.generator), weights(plain.base.generator))
    assert method.context.generator.get_state().equal(plain.context.generator.get_state())


# ---------------------------------------------------------------------------------------------- who learns what
def test_the_head_learns_from_its_own_step_only() -> None:
    method = guided(head_stop=0.0)
    before = weights(method.head)
    log = method.train_step(batch(), 1)
    assert float(log["l_geo"]) > 0
    assert equal(before, weights(method.head))
    assert all(p.grad is None for p in method.head.parameters())


def test_the_head_step_leaves_the_generator_alone() -> None:
    method = over_card()
    before = weights(method.base.generator)
    method._head_step(batch()["image"], batch()["depth"], 0)
    assert equal(before, weights(method.base.generator))
    assert all(p.grad is None for p in method.base.generator.parameters())


def guidance_gradients(**overrides: Any) -> tuple[Tensor | None, Tensor | None]:
    """Gradients of the guide alone by colour and by relief."""
    method = guided(**overrides)
    card = method.base.generator
    cameras = method.context.sample_cameras(2, torch.Generator().manual_seed(0))
    total = method._guide(scene(torch.tanh(card.colour), card.relief, cameras), 1)
    gradients = torch.autograd.grad(total, (card.colour, card.relief), allow_unused=True)
    return gradients[0], gradients[1]


@pytest.mark.parametrize("head", ["depth_supervised", "inverse_renderer", "scene"])
def test_a_detached_image_guides_the_shape_alone(head: str) -> None:
    for target in ("normals", "depth", "both"):
        colour, relief = guidance_gradients(head=head, geo_target=target, detach_image=True)
        assert colour is None
        assert relief is not None
        assert relief.abs().sum() > 0
        colour, relief = guidance_gradients(head=head, geo_target=target)
        assert colour is not None
        assert colour.abs().sum() > 0


def test_bins_reach_the_generator_through_its_picture_only() -> None:
    colour, relief = guidance_gradients(head="scene", scene_target="bins", geo_target="depth")
    assert colour is not None
    assert colour.abs().sum() > 0
    assert relief is None or not relief.any()


def test_what_the_head_learns_from() -> None:
    real, both = guided(), guided(head_learns_from="real_fake")
    log = real.train_step(batch(), 1), both.train_step(batch(), 1)
    assert "head_fake" not in log[0]
    assert math.isfinite(float(log[1]["head_fake"]))
    assert not equal(weights(real.head), weights(both.head))
    assert equal(weights(real.base.generator), weights(both.base.generator))


def test_the_averaged_head_is_the_one_that_guides() -> None:
    method = guided(head_in_use="ema")
    method.train_step(batch(), 0)
    assert method._reader is method.head_average.module
    assert not equal(weights(method.head), weights(method._reader))


def test_a_frozen_head_stops_where_the_guidance_starts() -> None:
    method = over_card(head_in_use="frozen", head_stop=1.0, geo_t0=0.5, geo_t1=0.5)
    method.train_step(batch(), 9)
    before = weights(method.head)
    assert "head_total" not in method.train_step(batch(), 10)
    assert equal(before, weights(method.head))
    live = over_card(head_stop=1.0, geo_t0=0.5, geo_t1=0.5)
    assert "head_total" in live.train_step(batch(), 10)


def test_heads_ask_for_the_depth_that_they_learn() -> None:
    assert GeoD.supervision({"head": "depth_supervised"}) == ("depth",)
    assert GeoD.supervision({"head": "scene"}) == ("depth",)
    assert GeoD.supervision({"head": "inverse_renderer"}) == ()
    shown = {"image": batch()["image"]}
    assert "head_side" not in over_card(head="inverse_renderer").train_step(shown, 0)


@pytest.mark.parametrize("head", ["depth_supervised", "inverse_renderer", "scene"])
def test_heads_learn_what_they_are_shown(head: str) -> None:
    method = over_card(head=head, head_lr=0.003, head_lr_schedule="constant", steps=1000)
    totals = [float(method._head_step(batch()["image"], batch()["depth"], 0)["head_total"]) for _ in range(25)]
    assert totals[-1] < totals[0]


def test_without_confidence_all_pixels_count_alike() -> None:
    method = over_card(head="inverse_renderer", confidence=False)
    fine, coarse = method.head.networks.confidence(batch()["image"])
    assert (fine == 1).all()
    assert coarse.shape == (2, 2, SIDE // 4, SIDE // 4)
    assert not list(method.head.networks.confidence.parameters())


# ---------------------------------------------------------------------------------------------------- schedule
def test_ramp_is_zero_linear_capped_and_zero_again() -> None:
    ramp = Ramp(start=20, full=60, stop=2000, low=0.0, high=0.1)
    assert ramp.weight(0) == ramp.weight(20) == 0
    assert ramp.weight(40) == pytest.approx(0.05)
    assert ramp.weight(60) == pytest.approx(0.1)
    assert ramp.weight(1999) == pytest.approx(0.1)
    assert ramp.weight(2000) == 0
    assert Ramp(20, 20, 30, 0.0, 0.1).weight(20.001) == pytest.approx(0.1)


def test_clock_counts_shares_or_thousands_of_images() -> None:
    assert Clock("share", 200, 16).at(100) == 0.5
    assert Clock("kimg", 200, 16).at(125) == 2.0
    assert Clock("share", 200, 16).step(0.5) == 100
    assert Clock("kimg", 200, 16).step(2.0) == 125


def test_the_guide_speaks_only_when_it_is_due() -> None:
    method = over_card(steps=20, geo_t0=0.5, geo_t1=0.6, geo_stop=0.9, geo_every=2)
    spoken = [step for step in range(20) if "l_geo" in method.train_step(batch(), step)]
    assert spoken == [12, 14, 16]  # later than 10, every second one, before 18


def test_lazy_guidance_may_be_multiplied() -> None:
    cameras = look_at(torch.zeros(2), torch.zeros(2), PRIOR)
    totals = []
    for scaled in (False, True):
        method = guided(geo_every=4, lazy_scaled=scaled)
        card = method.base.generator
        totals.append(float(method._guide(scene(torch.tanh(card.colour), card.relief, cameras), 4).detach()))
    assert totals[1] == pytest.approx(4 * totals[0], rel=1e-5)


def test_wrong_options_are_refused() -> None:
    for change, words in (
        ({"geo_t0": 0.7}, "ramp ends at 0.6"),
        ({"geo_stop": 2.0}, "shares of a training"),
        ({"nvs": "learned", "nvs_degrees": 0.0}, "nvs_degrees"),
        ({"head_range": [0.0, 1.0]}, "nearest, farthest"),
        ({"geo_every": 0}, "must be positive"),
        ({"opaque": 1.0}, "in \\[0, 1\\)"),
        ({"head": "crystal_ball"}, "is not one of"),
    ):
        with pytest.raises(ConfigError, match=words):
            parse(OWN | change)


# ---------------------------------------------------------------------------------------------------- guidance
def test_no_loss_where_the_generator_agrees() -> None:
    depth = PRIOR.radius - 0.3 * torch.rand(2, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    mask = disc().expand(2, -1, -1) > 0
    normals = depth_normals(depth, PRIOR.fov)
    assert float(normal_loss(normals, normals, mask)) == 0
    assert float(depth_loss(depth, depth, mask)) == 0
    assert float(depth_loss(depth, 1.3 * depth, mask)) == pytest.approx(0, abs=1e-6)
    assert float(normal_loss(normals, -normals, torch.zeros_like(mask))) == 0


def test_an_object_that_is_not_there_costs_nothing() -> None:
    method = guided()
    cameras = look_at(torch.zeros(2), torch.zeros(2), PRIOR)
    card = method.base.generator
    made = scene(torch.tanh(card.colour), card.relief, cameras)
    empty = replace(made, opacity=torch.zeros_like(made.opacity))
    assert float(method._guide(empty, 1).detach()) == 0


def test_the_mask_is_opaque_and_without_its_rim() -> None:
    made = scene(
        torch.zeros(1, 3, SIDE, SIDE), torch.zeros(1, SIDE, SIDE), look_at(torch.zeros(1), torch.zeros(1), PRIOR)
    )
    areas = [int(rendered_geometry(made, (SIDE, SIDE), 0.5, rim)[1].sum()) for rim in (0, 1, 2)]
    assert areas[0] == int(disc().sum())
    assert areas[0] > areas[1] > areas[2] > 0


def test_resizing_keeps_the_background_out_of_the_depth() -> None:
    made = scene(
        torch.zeros(1, 3, SIDE, SIDE), torch.zeros(1, SIDE, SIDE), look_at(torch.zeros(1), torch.zeros(1), PRIOR)
    )
    depth, mask = rendered_geometry(made, (24, 24), 0.5, 0)
    assert torch.allclose(depth[mask], torch.tensor(PRIOR.radius), atol=1e-5)


def test_reading_errors_of_known_depths() -> None:
    depth = torch.where(disc() > 0, torch.rand(2, SIDE, SIDE, generator=torch.Generator().manual_seed(0)) + 1, 0.0)
    side, constant, corr = reading_errors(2 * depth, depth).tolist()
    assert side == pytest.approx(0, abs=1e-5)
    assert corr == pytest.approx(1, abs=1e-5)
    flat = reading_errors(torch.ones_like(depth), depth).tolist()
    assert flat[0] == pytest.approx(constant)
    assert flat[1:] == pytest.approx([constant, 0.0])


# ------------------------------------------------------------------------------------------------------- state
@pytest.mark.parametrize(
    "overrides",
    [
        {"nvs": "warp_gen_depth", "nvs_every": 1},
        {"nvs": "learned", "head_in_use": "ema"},
        {"head": "inverse_renderer", "nvs": "warp_disc_depth", "head_learns_from": "real_fake"},
    ],
)
def test_a_resumed_training_goes_on_as_if_nothing_had_happened(overrides: dict[str, Any]) -> None:
    method = over_card(steps=10, head_stop=1.0, geo_t0=0.2, geo_t1=0.5, **overrides)
    for step in range(4):
        method.train_step(batch(seed=step), step)
    resumed = over_card(steps=10, seed=3, head_stop=1.0, geo_t0=0.2, geo_t1=0.5, **overrides)
    resumed.load_state_dict(copy.deepcopy(method.state_dict()))
    resumed.context.generator.set_state(method.context.generator.get_state())
    logs = [[one.train_step(batch(seed=step), step) for step in range(4, 7)] for one in (method, resumed)]
    for a, b in zip(*logs, strict=True):
        assert set(a) == set(b)
        assert all(value.equal(b[name]) for name, value in a.items())
    assert equal(weights(method.head), weights(resumed.head))
    assert equal(weights(method.base.generator), weights(resumed.base.generator))
    report = method.head_report()
    assert set(report) == {"side", "side_const", "corr"}
    assert str(report) == str(resumed.head_report())  # NaN equals itself in words


# ----------------------------------------------------------------------------------------------------- presets
def test_the_paper_preset_is_the_released_one() -> None:
    options = parse(registry.methods()["geod"].preset("paper"))
    head = build_head(replace(options, perceptual="random"), PRIOR, torch.Generator().manual_seed(0))
    assert sum(p.numel() for p in head.parameters()) == pytest.approx(37.12e6, rel=1e-3)
    assert (options.head_lr, options.head_weight_decay, options.head_stop) == (1e-4, 5e-4, 600)
    ramp = Ramp(options.geo_t0, options.geo_t1, options.geo_stop, options.geo_w0, options.geo_w1)
    assert [ramp.weight(kimg) for kimg in (20, 40, 60, 2000)] == pytest.approx([0, 0.05, 0.1, 0], abs=1e-6)
