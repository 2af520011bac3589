"""The tri-plane generator: planes, decoder, super-resolution, scenes and their views."""

from __future__ import annotations

import itertools
import math
from dataclasses import asdict, replace
from typing import Any
from unittest.mock import patch

import pytest
import torch
from torch import Tensor

from harness.cameras import named_prior, sample_cameras, select
from harness.types import Cameras, ConfigError
from methods.blocks.field_rendering import Density, Rendering, field_density
from methods.blocks.pose_discriminator import pose_label
from methods.blocks.resampling import upsample2
from methods.blocks.style_options import StyleOptions
from methods.blocks.triplane_decoder import TriplaneDecoder
from methods.blocks.triplane_generator import TriplaneGenerator
from methods.blocks.triplane_options import TriplaneOptions, parse_triplane
from methods.blocks.triplane_sampling import sample_planes
from methods.blocks.triplane_upsampler import SuperResolution, start_size
from methods.blocks.volume_rendering import Quadrature

PRIOR = named_prior("wide60")
TINY = TriplaneOptions(
    z_dim=6,
    g_pose=False,
    w_dim=8,
    mapping_layers=2,
    mapping_rate=0.1,
    channel_base=64,
    channel_max=8,
    g_architecture="orig",
    noise="none",
    plane_size=16,
    plane_channels=4,
    planes="xy_xz_yz",
    outside="border",
    box=1.0,
    plane_gain=1.7,
    decoder_width=8,
    decoder_act="lrelu",
    feature_channels=3,
    colour_gain=1.5,
    colour_margin=0.01,
    super_resolution=False,
    sr_channels=(),
)
UPSAMPLED = replace(
    TINY, g_architecture="skip", feature_channels=5, super_resolution=True, sr_channels=(6, 4), decoder_act="softplus"
)
# EG3D at 512 pixels: section 6 of the design notes.
EG3D = TriplaneOptions(
    z_dim=512,
    g_pose=True,
    w_dim=512,
    mapping_layers=2,
    mapping_rate=0.01,
    channel_base=32768,
    channel_max=512,
    g_architecture="skip",
    noise="const",
    plane_size=256,
    plane_channels=32,
    planes="released",
    outside="zeros",
    box=1.0,
    plane_gain=1.0,
    decoder_width=64,
    decoder_act="softplus",
    feature_channels=32,
    colour_gain=1.0,
    colour_margin=0.001,
    super_resolution=True,
    sr_channels=(128, 64),
)
BALL = Density(gain=8.0, slope=9.9, radius=0.5, bounded=True)
HOW = Rendering(8, 0, Quadrature("left", "softplus_minus_1", "finite"), shared_jitter=True)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int = 5) -> Tensor:
    return torch.randn(*shape, generator=seeded(seed))


def views(n: int, seed: int = 3) -> Cameras:
    return sample_cameras(PRIOR, n, seeded(seed))


def build(options: TriplaneOptions = TINY, resolution: int = 16, density: Density = BALL) -> TriplaneGenerator:
    return TriplaneGenerator(options, resolution, density, seeded())


def centres(size: int) -> Tensor:
    return (2 * torch.arange(size) + 1) / size - 1


# ------------------------------------------------------------------------------------------------------- sampling
def test_a_linear_feature_of_the_xy_plane_is_reproduced_at_grid_nodes() -> None:
    x = centres(8)
    features = torch.zeros(1, 3, 1, 8, 8)
    features[0, 0, 0] = 3 * x[None, :] + 5 * x[:, None]
    grid = torch.cartesian_prod(x, x)
    points = torch.cat((grid, normal(64, 1)), 1)[None]
    sampled = sample_planes(features, points, "xy_xz_yz", "zeros")[0, 0]
    torch.testing.assert_close(sampled, 3 * grid[:, 0] + 5 * grid[:, 1])


@pytest.mark.parametrize(
    ("planes", "plane", "across", "down"),
    [
        ("xy_xz_yz", 0, 0, 1),
        ("xy_xz_yz", 1, 0, 2),
        ("xy_xz_yz", 2, 1, 2),
        ("released", 0, 0, 1),
        ("released", 1, 0, 2),
        ("released", 2, 2, 0),
    ],
)
def test_each_plane_sees_its_two_axes(planes: Any, plane: int, across: int, down: int) -> None:
    x = centres(4)
    features = torch.zeros(1, 3, 2, 4, 4)
    features[0, plane, 0] = x[None, :]
    features[0, plane, 1] = x[:, None]
    points = 0.7 * (torch.rand(1, 20, 3, generator=seeded()) * 2 - 1)
    sampled = sample_planes(features, points, planes, "border")
    torch.testing.assert_close(sampled[0], torch.stack((points[0, :, across], points[0, :, down])))


def test_released_planes_see_x_and_z_twice_and_never_y_and_z_together() -> None:
    features, points = normal(2, 3, 5, 8, 8), normal(2, 30, 3) * 0.5
    first, second, third = features.unbind(1)
    swapped = torch.stack((first, third.transpose(-1, -2), second.transpose(-1, -2)), 1)
    sampled = sample_planes(features, points, "released", "zeros")
    torch.testing.assert_close(sampled, sample_planes(swapped, points, "released", "zeros"))
    difference = sampled - sample_planes(swapped, points, "xy_xz_yz", "zeros")
    assert difference.abs().max() > 0.1


def test_outside_the_planes_features_vanish_or_keep_the_border() -> None:
    features = torch.ones(1, 3, 2, 8, 8)
    far = torch.tensor([[[3.0, -3.0, 3.0]]])
    assert sample_planes(features, far, "xy_xz_yz", "zeros").abs().max() == 0
    torch.testing.assert_close(sample_planes(features, far, "xy_xz_yz", "border"), torch.full((1, 2, 1), 3.0))


def test_sampling_ignores_autocast() -> None:
    features, points = normal(1, 3, 2, 8, 8), normal(1, 9, 3) * 0.4
    with torch.autocast("cpu", dtype=torch.bfloat16):
        within = sample_planes(features, points, "xy_xz_yz", "border")
    assert torch.equal(within, sample_planes(features, points, "xy_xz_yz", "border"))


# -------------------------------------------------------------------------------------------------------- decoder
@pytest.mark.parametrize("activation", ["softplus", "lrelu"])
def test_the_decoder_is_linear_activation_linear(activation: Any) -> None:
    decoder = TriplaneDecoder(3, 4, 2, seeded(), activation=activation, scale=0.5, colour_gain=1.5, colour_margin=0.01)
    features = normal(2, 3, 7)
    hidden = features.transpose(1, 2) * 0.5 @ decoder.hidden.weight.t() / math.sqrt(3) + decoder.hidden.bias
    if activation == "softplus":
        hidden = hidden.exp().log1p()
    else:
        hidden = torch.where(hidden > 0, hidden, 0.2 * hidden) * math.sqrt(2)
    out = hidden @ decoder.out.weight.t() / 2 + decoder.out.bias
    raw, colour = decoder(features)
    torch.testing.assert_close(raw, out[..., 0])
    torch.testing.assert_close(colour, 1.02 / (1 + torch.exp(-1.5 * out[..., 1:])) - 0.01)


# ----------------------------------------------------------------------------------------------- super-resolution
@pytest.mark.parametrize(("resolution", "start"), [(512, 128), (256, 128), (128, 64), (64, 32), (16, 8)])
def test_two_blocks_start_from_128_pixels_or_half_the_image(resolution: int, start: int) -> None:
    assert start_size(resolution) == start


def test_two_blocks_do_not_reach_1024_pixels() -> None:
    with pytest.raises(ConfigError, match="1024"):
        start_size(1024)


@pytest.mark.parametrize(("resolution", "doublings"), [(16, 1), (512, 2)])
def test_without_its_to_image_layers_super_resolution_is_the_upsampled_raw_image(
    resolution: int, doublings: int
) -> None:
    network = SuperResolution(4, (2, 2), resolution, StyleOptions(w_dim=3), seeded())
    with torch.no_grad():
        for layer in network.to_images:
            layer.weight.zero_()
    features = normal(1, 4, network.start, network.start)
    expected = features[:, :3]
    for _ in range(doublings):
        expected = upsample2(expected)
    torch.testing.assert_close(network(features, normal(1, 3)), expected)


def test_super_resolution_takes_rays_of_any_number() -> None:
    network = SuperResolution(4, (2, 2), 16, StyleOptions(w_dim=3), seeded())
    for rays in (4, 8, 12):
        assert network(normal(2, 4, rays, rays), normal(2, 3)).shape == (2, 3, 16, 16)


# ------------------------------------------------------------------------------------------------ published sizes
def test_the_generator_of_512_pixels_has_the_size_that_its_parts_imply() -> None:
    def linear(inputs: int, outputs: int) -> int:
        return inputs * outputs + outputs

    def layer(inputs: int, outputs: int, noise: int = 1) -> int:
        return linear(512, inputs) + inputs * outputs * 9 + outputs + noise

    def to_image(inputs: int, outputs: int) -> int:
        return linear(512, inputs) + linear(inputs, outputs)

    widths = [512, 512, 512, 512, 512, 256, 128]  # 4 to 256 pixels, min(32768 / size, 512)
    mapping = linear(25, 512) + linear(1024, 512) + linear(512, 512)
    planes = 512 * 16 + layer(512, 512) + sum(to_image(width, 96) for width in widths)
    planes += sum(layer(a, b) + layer(b, b) for a, b in itertools.pairwise(widths))
    decoder = linear(32, 64) + linear(64, 33)
    upsampling = sum(layer(a, b, 0) + layer(b, b, 0) + to_image(b, 3) for a, b in ((32, 128), (128, 64)))
    network = TriplaneGenerator(EG3D, 512, Density(), seeded())
    count = sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)
    assert count == mapping + planes + decoder + upsampling == 29_587_508


# --------------------------------------------------------------------------------------------- scenes and views
def test_pure_rendering_returns_the_field_as_the_image() -> None:
    network, cameras = build(), views(2)
    rgb, raw, view = network.render(network.scene(network.codes(normal(2, 6))), cameras, 8, HOW)
    assert rgb.shape == (2, 3, 8, 8)
    assert raw is None
    torch.testing.assert_close(rgb, view.features * 2 - 1)
    assert rgb.abs().max() <= 1.02 + 1e-6


def test_with_super_resolution_both_images_are_returned() -> None:
    network, cameras = build(UPSAMPLED), views(2)
    rgb, raw, view = network.render(network.scene(network.codes(normal(2, 6))), cameras, 4, HOW)
    assert rgb.shape == (2, 3, 16, 16)
    assert raw is not None
    assert view.features.shape == (2, 5, 4, 4)
    torch.testing.assert_close(raw, view.features[:, :3] * 2 - 1)


def test_a_scene_is_synthesised_once_for_all_its_views() -> None:
    network, cameras = build(), views(4)
    codes = network.codes(normal(1, 6))
    with patch.object(network.synthesis, "forward", wraps=network.synthesis.forward) as synthesis:
        scene = network.scene(codes)
        shared = [network.render(scene, select(cameras, k), 8, HOW)[0] for k in range(4)]
        assert synthesis.call_count == 1
    separate = [network.render(network.scene(codes), select(cameras, k), 8, HOW)[0] for k in range(4)]
    torch.testing.assert_close(shared, separate)


def test_the_field_does_not_depend_on_the_direction() -> None:
    network, points = build(), normal(2, 30, 3) * 0.5
    field = network.field(network.scene(network.codes(normal(2, 6))))
    first, second = (field(points, normal(2, 30, 3, seed=seed)) for seed in (1, 2))
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])


@pytest.mark.parametrize("options", [TINY, UPSAMPLED])
def test_images_do_not_depend_on_what_shares_their_batch(options: TriplaneOptions) -> None:
    network, cameras, z = build(options), views(3), normal(3, 6)
    whole = network.render(network.scene(network.codes(z)), cameras, 8, HOW)[0]
    for k in range(3):
        scene = network.scene(network.codes(z[k : k + 1]))
        alone = network.render(scene, select(cameras, k), 8, HOW)[0]
        torch.testing.assert_close(whole[k : k + 1], alone, atol=1e-4, rtol=1e-4)


def test_images_do_not_depend_on_the_chunks_of_rays() -> None:
    network, cameras = build(UPSAMPLED), views(2)
    how = replace(HOW, fine=6, smooth=True, quadrature=Quadrature("midpoint", "softplus_minus_1"))
    with torch.no_grad():
        scene = network.scene(network.codes(normal(2, 6)))
        whole = network.render(scene, cameras, 6, how, seeded(1))[0]
        parts = network.render(scene, cameras, 6, replace(how, chunk=7), seeded(1))[0]
    torch.testing.assert_close(whole, parts, atol=1e-4, rtol=1e-4)


def test_a_constant_decoder_is_a_homogeneous_medium() -> None:
    network = build(density=Density(gain=2.0))
    with torch.no_grad():
        network.decoder.out.weight.zero_()
        network.decoder.out.bias.copy_(torch.tensor([0.3, 0.0, 1.0, -1.0]))
    scene = network.scene(network.codes(normal(1, 6)))
    sigma = 2 * math.log1p(math.exp(0.3 - 1))
    points = normal(1, 5, 3)
    density = field_density(network.field(scene), network.density, points, "softplus_minus_1")
    torch.testing.assert_close(density, torch.full((1, 5), sigma))
    camera = views(1)
    rgb, _, view = network.render(scene, camera, 5, HOW)
    # Five rays across: the centre ray runs along the optical axis, where z is the length.
    length = (PRIOR.far - PRIOR.near) * HOW.samples / (HOW.samples - 1)
    opacity = 1 - math.exp(-sigma * length)
    assert view.opacity[0, 2, 2].item() == pytest.approx(opacity, abs=1e-5)
    assert rgb[0, 0, 2, 2].item() == pytest.approx(2 * 0.5 * opacity - 1, abs=1e-5)


def test_the_planes_cover_the_box() -> None:
    wide = build(replace(TINY, box=2.0))
    narrow = build(TINY)
    codes, points = narrow.codes(normal(1, 6)), normal(1, 20, 3) * 0.4
    there = wide.field(wide.scene(codes))(2 * points, points)
    here = narrow.field(narrow.scene(codes))(points, points)
    torch.testing.assert_close(there, here)


@pytest.mark.parametrize("options", [TINY, UPSAMPLED, replace(UPSAMPLED, g_pose=True, noise="const")])
def test_every_weight_that_is_trained_gets_a_gradient(options: TriplaneOptions) -> None:
    network, cameras = build(options), views(2)
    pose = pose_label(cameras) if options.g_pose else None
    rgb, raw, _ = network.render(network.scene(network.codes(normal(2, 6), pose)), cameras, 8, HOW, seeded())
    loss = rgb.square().mean() + (0 if raw is None else raw.square().mean())
    loss.backward()
    without = {name for name, weight in network.named_parameters() if weight.requires_grad and weight.grad is None}
    unused = {name for name in without if name.endswith("strength") and options.noise == "none"}
    assert without == unused


def test_bf16_is_close_to_fp32() -> None:
    network, cameras = build(), views(2)
    with torch.no_grad():
        exact = network.render(network.scene(network.codes(normal(2, 6))), cameras, 8, HOW)[0]
        with torch.autocast("cpu", dtype=torch.bfloat16):
            coarse = network.render(network.scene(network.codes(normal(2, 6))), cameras, 8, HOW)[0]
    assert coarse.dtype == torch.float32
    assert (coarse - exact).abs().mean() < 0.01


# ---------------------------------------------------------------------------------------------------------- codes
def test_one_seed_gives_one_network() -> None:
    first, second = (build(UPSAMPLED).state_dict() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_the_generator_may_be_told_the_pose() -> None:
    network, z = build(replace(TINY, g_pose=True)), normal(2, 6)
    label = pose_label(views(2))
    assert network.codes(z, label).shape == (2, network.mapping.num_ws, 8)
    assert not torch.allclose(network.codes(z, label), network.codes(z, label.flip(0)))
    with pytest.raises(ConfigError, match="camera"):
        network.codes(z)


def test_the_mean_code_follows_training_only_and_truncation_moves_towards_it() -> None:
    network, z = build(), normal(4, 6)
    with torch.no_grad():
        network.codes(z)
    network.eval()
    network.codes(z)
    assert network.mapping.average.abs().max() == 0
    codes = network.train().codes(z)
    torch.testing.assert_close(network.mapping.average, 0.005 * codes[:, 0].mean(0))
    network.eval()
    torch.testing.assert_close(network.codes(z, truncation=0.0), network.mapping.average.expand_as(codes))
    torch.testing.assert_close(network.codes(z), codes)


# -------------------------------------------------------------------------------------------------------- options
def test_options_are_read_from_a_flat_preset() -> None:
    assert parse_triplane({**asdict(UPSAMPLED), "batch_size": 4}, "triplane") == UPSAMPLED


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"planes": "xy_yz"}, "planes"),
        ({"outside": "reflection"}, "outside"),
        ({"box": 0.0}, "box"),
        ({"colour_margin": -0.1}, "colour_margin"),
        ({"plane_size": 24}, "resolution"),
        ({"feature_channels": 8}, "feature_channels"),
        ({"feature_channels": 2}, "feature_channels"),
        ({"super_resolution": True, "sr_channels": [8]}, "sr_channels"),
    ],
)
def test_options_that_cannot_work_are_refused(changes: dict[str, Any], key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_triplane({**asdict(TINY), **changes}, "triplane")
    assert key in str(caught.value)
