"""VolumeGAN: networks, growing, mixing, one evaluation of the volume, training and state."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any, cast

import pytest
import torch
import yaml
from torch import Tensor, nn

from harness.cameras import named_prior, sample_cameras, stack_sweep
from harness.types import Cameras, ConfigError, Context, DataSpec, Generates, Method, PosePrior, RadianceField
from methods.blocks.field_rendering import render_field
from methods.blocks.modulated_field import ModulatedLinear
from methods.volumegan.discriminator import GrowingDiscriminator
from methods.volumegan.growing import Growth
from methods.volumegan.method import VolumeGAN
from methods.volumegan.model import VolumeGenerator
from methods.volumegan.options import parse

FOLDER = Path(__file__).parents[2] / "methods" / "volumegan"
PRIOR = named_prior("wide60")


def preset(tier: str, **changes: Any) -> dict[str, Any]:
    config: dict[str, Any] = yaml.safe_load((FOLDER / f"{tier}.yaml").read_text())
    assert set(changes) <= set(config)
    config.update(changes)
    return config


def context(config: dict[str, Any], total: int = 10, prior: PosePrior = PRIOR) -> Context:
    def cameras(n: int, generator: torch.Generator, prior_: PosePrior | None = None, **kwargs: Any) -> Cameras:
        return sample_cameras(kwargs.get("prior") or prior_ or prior, n, generator)

    generator = torch.Generator().manual_seed(1)
    cpu = torch.device("cpu")
    return Context(cpu, "fp32", 0, total, config["batch_size"], generator, contextlib.nullcontext, cameras)


def spec(size: int = 32, prior: PosePrior | None = PRIOR) -> DataSpec:
    return DataSpec("objects/head", size, {"train": 8}, prior)


def method(total: int = 10, **changes: Any) -> VolumeGAN:
    config = preset("smoke", **changes)
    return VolumeGAN(config, spec(), context(config, total))


def batch(step: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(100 + step)
    return {"image": torch.rand(8, 3, 32, 32, generator=generator) * 2 - 1, "index": torch.arange(8)}


def latents(model: VolumeGAN, n: int = 3, seed: int = 5) -> Tensor:
    return model.latents(n, torch.Generator().manual_seed(seed))


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


# ------------------------------------------------------------------------------------------------------ presets
def test_the_presets_share_their_keys() -> None:
    keys = {tier: set(preset(tier)) for tier in ("smoke", "micro", "small", "paper")}
    assert all(found == keys["paper"] for found in keys.values())


def test_the_released_networks_have_the_parameters_that_the_paper_configuration_implies() -> None:
    config = preset("paper")
    model = VolumeGAN(config, spec(256, named_prior("front_gauss")), context(config, prior=named_prior("front_gauss")))
    generator = model.generator

    def affine(width: int) -> int:
        return 512 * width + width

    field = affine(95) + 95 * 256 + 256 + 3 * (affine(256) + 256 * 256 + 256) + (256 + 1) + (256 * 512 + 512)
    pairs = ((512, 512), (512, 512), (512, 256), (256, 256), (256, 128), (128, 128))
    layers = sum(affine(a) + a * b + b + 1 for a, b in pairs)
    to_rgb = sum(affine(width) + 3 * width + 3 for width in (512, 256, 128))
    volume = 27 * (256 * 256 + 256 * 128 + 128 * 64 + 64 * 32) + 480 + 512 * 960 + 960 + 256 * 64
    expected = {
        "mapping": 8 * affine(512),
        "volume": volume,
        "field_network": field,
        "renderer": layers + to_rgb,
    }
    assert {name: count(getattr(generator, name)) for name in expected} == expected
    assert count(generator) == sum(expected.values()) == 8_688_271
    assert generator.layers == 12
    # StyleGAN2's residual discriminator at 256 pixels (28,864,129) and from-RGB layers for 32, 64 and 128 pixels.
    assert count(model.discriminator) == 28_864_129 + 2 * (3 * 512 + 512) + (3 * 256 + 256)


def test_the_released_volume_and_prior_count_lengths_in_camera_radii() -> None:
    prior = named_prior("front_gauss")
    config = preset("paper", volume_start=4, volume_widths=[4, 4], field_width=8, features=8, w_dim=8, z_dim=8)
    config.update(renderer_max=8, d_channel_max=8)
    model = VolumeGAN(config, spec(256, prior), context(config, prior=prior))
    assert model.generator.unit == pytest.approx(1 / prior.radius)
    assert model.generator.density.length == pytest.approx(1 / prior.radius)
    assert model.prior.near / prior.radius == pytest.approx(0.8)
    assert model.prior.far / prior.radius == pytest.approx(1.2)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"grow_from": 12}, "one of 16, 32, got 12"),
        ({"rays": [8, 16], "ray_shares": [1.0, 1.0]}, "must be one power of two"),
        ({"box": [0.0, 0.0, 0.0, 1.0, 1.0]}, "smallest x, y, z"),
        ({"box": [1.0, 0.0, 0.0, 1.0, 1.0, 1.0]}, "smallest x, y, z"),
        ({"volume_widths": []}, "one positive width per stage"),
        ({"features": 2}, "needs 3 of the features"),
        ({"fused": True}, "second derivatives"),
        ({"g_pose": True}, "never told the pose"),
        ({"dual": True}, "sees one image"),
        ({"octaves": 0}, "must be positive"),
        ({"grow_hold": -0.1}, "must not be negative"),
        ({"edge": "replicat"}, "replicate"),
        ({"volume": 1}, "not of type bool"),
    ],
)
def test_options_that_cannot_work_are_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse(preset("smoke", **changes), spec())


def test_data_without_a_prior_are_refused() -> None:
    config = preset("smoke")
    with pytest.raises(ConfigError, match="pose prior"):
        VolumeGAN(config, spec(prior=None), context(config))


# ---------------------------------------------------------------------------------------------------- generator
def test_it_is_a_method_that_generates_by_a_radiance_field() -> None:
    model = method()
    assert isinstance(model, Method)
    assert isinstance(model, Generates)
    assert isinstance(model, RadianceField)


def test_both_passes_and_all_views_read_one_evaluation_of_the_volume(monkeypatch: pytest.MonkeyPatch) -> None:
    model = method()
    assert model.options.fine_samples > 0
    calls: list[int] = []
    seen: list[torch.Size] = []
    volume = model.generator.volume
    assert volume is not None
    inner = volume.forward

    def counted(w: Tensor) -> Tensor:
        calls.append(len(w))
        return inner(w)

    monkeypatch.setattr(volume, "forward", counted)

    def guide(scene: Any, step: int) -> Tensor:
        seen.append(scene.again(scene.cameras).rgb.shape)
        return scene.depth.mean() * 0

    model.guides.append(guide)
    model._step_g(8, 0)
    assert calls == [8]
    assert seen == [(8, 3, 32, 32)]


def test_codes_of_the_renderer_change_the_picture_and_never_the_shape() -> None:
    model = method(grow_from=0)
    cameras = stack_sweep(PRIOR, [0.0, 0.4, -0.4])
    own, other = latents(model), latents(model, seed=6)
    plain = model.render_codes(model.codes(own), cameras)
    texture = model.render_codes(model.exchanged(own, other), cameras)
    shape = model.render_codes(model.exchanged(other, own), cameras)
    assert plain.depth is not None
    assert texture.depth is not None
    assert shape.depth is not None
    assert torch.equal(plain.depth, texture.depth)
    assert not torch.allclose(plain.rgb, texture.rgb)
    assert not torch.allclose(plain.depth, shape.depth)


def test_style_mixing_replaces_codes_of_the_renderer_only_and_any_of_them() -> None:
    model = method(style_mixing=1.0, grow_from=0)
    depth, firsts = model.volume_options.field_depth, set()
    for _ in range(60):
        codes, _ = model._draw(2)
        mixed = (codes != codes[:, :1]).any(2)[0]  # the first code is of the first style
        assert not mixed[:depth].any()
        firsts.add(int(mixed.int().argmax()))
    assert firsts == set(range(depth, model.generator.layers))


def test_without_the_volume_the_field_sees_encoded_points_alone() -> None:
    model = method(volume=False)
    assert model.generator.volume is None
    first = cast(ModulatedLinear, model.generator.field_network.layers[0])
    assert first.weight.shape[1] == 3 * (1 + 2 * 2)
    assert model.generator.scene(torch.zeros(1, 6, 16)).volume is None
    log = model.train_step(batch(), 0)
    assert all(value.isfinite() for value in log.values())


def test_the_field_gets_the_volume_before_the_encoding() -> None:
    model = method()
    generator = model.generator
    seen = []
    generator.field_network.layers[0].register_forward_hook(lambda layer, args, out: seen.append(args[0]))
    points = torch.tensor([[[0.25, -0.5, 0.75]]])
    scene = generator.scene(generator.codes(torch.zeros(1, 16)))
    generator.field(scene)(points, points)
    assert seen[0].shape[-1] == 8 + 3 * (1 + 2 * 2)
    assert torch.equal(seen[0][0, 0, 8:11], points[0, 0])


def test_an_empty_field_shows_the_background_as_given() -> None:
    model = method(ball_radius=-50.0, background=[0.55, 0.75, 0.95], edge="replicate", grow_hold=1.0)
    made = model.sample(latents(model), None)
    assert model.generator.size == 16  # the start image alone
    sky = torch.tensor([0.1, 0.5, 0.9])[:, None, None].expand(3, 3, 32, 32)
    torch.testing.assert_close(made.rgb, sky, atol=1e-5, rtol=1e-5)
    assert made.depth is not None
    assert torch.equal(made.depth, torch.full((3, 32, 32), PRIOR.far))


def test_depth_and_opacity_have_the_resolution_of_the_image_and_density_ends_at_the_ball() -> None:
    model = method(grow_from=0)
    made = model.sample(latents(model), None)
    assert made.rgb.shape == (3, 3, 32, 32)
    assert made.depth is not None
    assert made.mask is not None
    assert made.depth.shape == made.mask.shape == (3, 32, 32)
    hit = made.depth[made.mask > 0.5]
    assert len(hit)
    assert hit.min() > PRIOR.near
    assert hit.max() < PRIOR.far
    points = torch.tensor([[[0.0, 0.0, 0.0], [0.0, 1.01, 0.0]]]).expand(3, -1, -1)
    density = model.density(model.codes(latents(model)), points)
    assert (density[:, 0] > 0).all()
    assert (density[:, 1] == 0).all()


def test_renders_are_differentiable_with_respect_to_every_code_in_use() -> None:
    model = method(grow_from=0)
    codes = model.codes(latents(model)).clone().requires_grad_(True)
    model.render_codes(codes, stack_sweep(PRIOR, [0.0, 0.4, -0.4])).rgb.square().sum().backward()
    assert codes.grad is not None
    used = (codes.grad != 0).any(2).all(0)
    depth = model.volume_options.field_depth
    assert used.tolist() == [index != depth for index in range(model.generator.layers)]


# ------------------------------------------------------------------------------------------------------- growing
@pytest.mark.parametrize(
    ("progress", "expected"),
    [
        (0.0, (32, 1.0)),
        (0.029, (32, 1.0)),
        (0.03, (64, 0.0)),
        (0.045, (64, 0.5)),
        (0.06, (64, 1.0)),
        (0.089, (64, 1.0)),
        (0.105, (128, 0.5)),
        (0.15, (256, 0.0)),
        (0.18, (256, 1.0)),
        (1.0, (256, 1.0)),
    ],
)
def test_the_released_growth_holds_and_fades_for_750_000_images_each(
    progress: float, expected: tuple[int, float]
) -> None:
    size, alpha = Growth((32, 64, 128, 256), 0.03, 0.03).at(progress)
    assert (size, alpha) == (expected[0], pytest.approx(expected[1], abs=1e-9))


def test_without_growing_everything_is_there_from_the_start() -> None:
    assert Growth((32,), 0.3, 0.1).at(0.0) == (32, 1.0)
    model = method(grow_from=0)
    assert not isinstance(model.discriminator, GrowingDiscriminator)


def test_the_discriminator_sees_images_of_the_size_that_is_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    model = method(total=10, grow_hold=0.3, grow_fade=0.2)
    sizes: list[int] = []
    inner = model.discriminator.forward

    def noted(images: Tensor, label: Tensor | None = None) -> Tensor:
        sizes.append(images.shape[-1])
        return inner(images, label)

    monkeypatch.setattr(model.discriminator, "forward", noted)
    model.train_step(batch(), 0)
    assert set(sizes) == {16}
    sizes.clear()
    model.train_step(batch(), 3)
    assert set(sizes) == {32}
    assert model.sample(latents(model), None).rgb.shape[-1] == 32


def test_a_growing_discriminator_fades_from_the_halved_image() -> None:
    model = method()
    network = model.discriminator
    assert isinstance(network, GrowingDiscriminator)
    images = batch()["image"]
    network.alpha = 0.0
    torch.testing.assert_close(network(images), network(nn.functional.avg_pool2d(images, 2)))
    network.alpha = 1.0
    assert not torch.allclose(network(images), network(nn.functional.avg_pool2d(images, 2)))


def test_moments_are_forgotten_when_the_image_grows() -> None:
    model = method(total=10, grow_hold=0.3, grow_fade=0.2)
    for step in range(4):
        model.train_step(batch(step), step)
    # Two phases of G in step 3: adversarial, and none of the path length, which is due every 4 steps.
    assert {int(values["step"]) for values in model.optimiser_g.state.values()} == {1}


# ----------------------------------------------------------------------------------------------- training, state
def test_all_phases_run_and_change_all_parts() -> None:
    model = method(grow_from=0)
    before = {name: value.clone() for name, value in model.generator.named_parameters()}
    log = model.train_step(batch(), 0)
    assert {"loss_g", "loss_d", "r1", "path_penalty"} <= set(log)
    assert all(value.isfinite() for value in log.values())
    model.train_step(batch(1), 1)  # noise has a gradient of its own once weights have moved
    moved = {name for name, value in model.generator.named_parameters() if not torch.equal(value, before[name])}
    assert moved == set(before)


def test_a_resumed_training_goes_on_bit_for_bit_across_a_change_of_size() -> None:
    whole, first = (method(total=10, grow_hold=0.3, grow_fade=0.2) for _ in range(2))
    for step in range(5):
        whole.train_step(batch(step), step)
        whole.average.update(step)
    for step in range(3):
        first.train_step(batch(step), step)
        first.average.update(step)
    second = method(total=10, grow_hold=0.3, grow_fade=0.2)
    second.load_state_dict(first.state_dict())
    second.context.generator.set_state(first.context.generator.get_state())
    assert torch.equal(second.sample(latents(first), None).rgb, first.sample(latents(first), None).rgb)
    for step in range(3, 5):
        second.train_step(batch(step), step)
        second.average.update(step)
    a, b = whole.sample(latents(whole), None), second.sample(latents(whole), None)
    assert torch.equal(a.rgb, b.rgb)
    assert a.depth is not None
    assert b.depth is not None
    assert torch.equal(a.depth, b.depth)


def test_a_view_does_not_depend_on_the_other_scenes_of_its_batch() -> None:
    model = method(grow_from=0)
    generator = cast(VolumeGenerator, model.average.module)
    codes, cameras = model.codes(latents(model)), stack_sweep(PRIOR, [0.0, 0.4, -0.4])
    how = model.options.rendering(evaluation=True)
    with torch.no_grad():
        together = render_field(generator.field(generator.scene(codes)), cameras, 16, how, generator.density)
        alone = render_field(
            generator.field(generator.scene(codes[:1])), stack_sweep(PRIOR, [0.0]), 16, how, generator.density
        )
    torch.testing.assert_close(together.features[:1], alone.features, atol=1e-4, rtol=1e-4)
