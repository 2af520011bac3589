"""StyleGAN2's networks: published sizes, access points, switches and errors."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from harness.types import ConfigError
from methods.blocks.adversarial import r1_penalty
from methods.blocks.convolution import to_channels_last
from methods.blocks.style_discriminator import StyleDiscriminator
from methods.blocks.style_generator import StyleGenerator
from methods.blocks.style_mapping import Mapping
from methods.blocks.style_options import StyleOptions, num_ws
from methods.blocks.style_synthesis import Synthesis

TINY = StyleOptions(z_dim=12, w_dim=10, mapping_layers=2, channel_base=96, channel_max=8, noise="const", mbstd_group=4)
MICRO = StyleOptions(z_dim=64, w_dim=64, mapping_layers=2, channel_base=1024, channel_max=64, mbstd_group=4)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int = 5) -> Tensor:
    return torch.randn(*shape, generator=seeded(seed))


@pytest.fixture
def synthesis() -> Synthesis:
    network = Synthesis(TINY, 16, seeded())
    with torch.no_grad():
        for layer in network._convolutions():
            layer.strength.fill_(0.5)
    return network


def style_widths(network: Synthesis) -> list[int]:
    affines = [layer.affine for layer in (*network.layers, *network.to_images)]
    return [affine.weight.shape[0] for affine in affines]  # type: ignore[union-attr]


def millions(network: nn.Module) -> float:
    return sum(parameter.numel() for parameter in network.parameters()) / 1e6


# ------------------------------------------------------------------------------------------------ published sizes
@pytest.mark.parametrize(
    ("resolution", "options", "generator", "discriminator"),
    [
        (1024, StyleOptions(channel_base=32768), 30.37, 29.01),
        (512, StyleOptions(channel_base=32768), 30.28, 28.98),
        (256, StyleOptions(channel_base=32768), 30.03, 28.86),
        (256, StyleOptions(), 24.77, 24.00),
        (128, StyleOptions(), 24.53, 23.88),
        (32, replace(MICRO, channel_base=2048), 0.314, 0.337),
        (32, MICRO, 0.264, 0.289),
    ],
)
def test_the_networks_have_the_published_numbers_of_parameters(
    resolution: int, options: StyleOptions, generator: float, discriminator: float
) -> None:
    with torch.device("meta"):
        g = StyleGenerator(options, resolution, torch.Generator())
        d = StyleDiscriminator(options, resolution, torch.Generator())
    # The micro figures have three digits only.
    tolerance = 1e-3 if resolution > 32 else 2e-3
    assert millions(g) == pytest.approx(generator, rel=tolerance)
    assert millions(d) == pytest.approx(discriminator, rel=tolerance)


def test_layers_have_the_published_shapes_at_256() -> None:
    with torch.device("meta"):
        network = Synthesis(StyleOptions(), 256, torch.Generator())
        judge = StyleDiscriminator(StyleOptions(), 256, torch.Generator())
    assert network.layer_sizes == [4, 8, 8, 16, 16, 32, 32, 64, 64, 128, 128, 256, 256]
    assert network.layer_channels == [512] * 7 + [256, 256, 128, 128, 64, 64]
    assert sum(network.layer_channels) == 4480
    widths = style_widths(network)
    assert widths == [512] * 8 + [256, 256, 128, 128, 64] + [512] * 4 + [256, 128, 64]
    assert (sum(widths[:13]), sum(widths[13:])) == (4928, 2496)
    assert [layer.up for layer in network._convolutions()] == [1] + [2, 1] * 6
    shapes = {name: tuple(layer.weight.shape) for name, layer in judge.layers}
    assert shapes["b256_from_rgb"] == (64, 3, 1, 1)
    assert shapes["b256_conv1"] == (128, 64, 3, 3)
    assert shapes["b64_skip"] == (512, 256, 1, 1)
    assert shapes["b4_conv"] == (512, 513, 3, 3)
    assert shapes["b4_fc"] == (512, 8192)
    assert shapes["b4_out"] == (1, 512)


def test_stylespace_of_1024_has_9088_dimensions() -> None:
    with torch.device("meta"):
        network = Synthesis(StyleOptions(channel_base=32768), 1024, torch.Generator())
    widths = style_widths(network)
    assert (sum(widths[:17]), sum(widths[17:])) == (6048, 3040)
    assert sum(network.layer_channels) == 5568


@pytest.mark.parametrize(("resolution", "count"), [(8, 4), (32, 8), (256, 14), (1024, 18)])
def test_number_of_codes(resolution: int, count: int) -> None:
    assert num_ws(resolution) == count


@pytest.mark.parametrize("resolution", [4, 0, 33, 48])
def test_other_sizes_are_refused(resolution: int) -> None:
    with pytest.raises(ConfigError, match="power of two"):
        StyleGenerator(TINY, resolution, seeded())


# ------------------------------------------------------------------------------------------------------- mapping
def test_the_average_follows_main_calls_only() -> None:
    mapping = Mapping(TINY, 6, seeded())
    z = normal(32, 12)
    mapping(z)
    assert not mapping.average.any()
    ws = mapping(z, update_average=True)
    torch.testing.assert_close(mapping.average, 0.005 * ws[:, 0].mean(0).detach())
    assert not mapping.average.requires_grad


def test_truncation_and_its_cutoff() -> None:
    mapping = Mapping(TINY, 6, seeded())
    mapping.average.copy_(normal(10))
    z = normal(3, 12)
    full = mapping(z)
    assert torch.equal(mapping(z, truncation=1.0), full)
    torch.testing.assert_close(mapping(z, truncation=0.0), mapping.average.expand(3, 6, 10))
    cut = mapping(z, truncation=0.5, cutoff=2)
    torch.testing.assert_close(cut[:, :2], (full[:, :2] + mapping.average) / 2)
    assert torch.equal(cut[:, 2:], full[:, 2:])


def test_no_truncation_shows_no_difference_between_latents() -> None:
    network = StyleGenerator(TINY, 8, seeded()).eval()
    network.mapping.average.copy_(normal(10))
    images = network(normal(4, 12), truncation=0.0, noise="const")
    torch.testing.assert_close(images, images[:1].expand_as(images))


def test_a_class_changes_the_code_and_is_required() -> None:
    mapping = Mapping(TINY, 6, seeded(), classes=3)
    z = normal(1, 12).expand(3, -1)
    codes = mapping.style(z, torch.tensor([0, 1, 2]))
    assert (codes[0] - codes[1]).abs().max() > 1e-3
    torch.testing.assert_close(mapping.style(z[:1], torch.tensor([2])), codes[2:])
    with pytest.raises(ConfigError, match="labels"):
        mapping(z)


# ----------------------------------------------------------------------------------------------------- synthesis
def test_equal_codes_are_one_code_and_styles_make_the_same_image(synthesis: Synthesis) -> None:
    w = normal(2, 10)
    ws = w.unsqueeze(1).repeat(1, 6, 1)
    image = synthesis(w.unsqueeze(1).expand(-1, 6, -1)).image
    torch.testing.assert_close(synthesis(ws).image, image)
    assert torch.equal(synthesis(styles=synthesis.styles(ws)).image, synthesis(ws).image)


def test_each_code_drives_its_layers(synthesis: Synthesis) -> None:
    ws = normal(1, 6, 10)
    before = synthesis.styles(ws)
    # Codes of the five convolutions, then of the to-image layers: those of the next convolution.
    users = [{0}, {1, 5}, {2}, {3, 6}, {4}, {7}]
    for index, layers in enumerate(users):
        moved = ws.clone()
        moved[:, index] += 1.0
        changed = {i for i, (a, b) in enumerate(zip(before, synthesis.styles(moved), strict=True)) if (a != b).any()}
        assert changed == layers
    apart = synthesis.styles(ws, image_ws=ws + 1.0)
    assert [torch.equal(a, b) for a, b in zip(before, apart, strict=True)] == [True] * 5 + [False] * 3


@pytest.mark.parametrize("architecture", ["resnet", "orig"])
def test_one_to_image_layer_reads_the_last_code(architecture: str) -> None:
    network = Synthesis(replace(TINY, g_architecture=architecture), 16, seeded())  # type: ignore[arg-type]
    assert len(network.to_images) == 1
    ws = normal(1, 6, 10)
    moved = ws.clone()
    moved[:, 5] += 1.0
    changed = [not torch.equal(a, b) for a, b in zip(network.styles(ws), network.styles(moved), strict=True)]
    assert changed == [False] * 5 + [True]


def test_taps_show_every_layer_and_do_not_change_the_image(synthesis: Synthesis) -> None:
    ws = normal(2, 6, 10)
    plain, tapped = synthesis(ws), synthesis(ws, taps="all")
    assert plain.taps == {}
    assert torch.equal(plain.image, tapped.image)
    shapes = [tuple(tapped.taps[index].shape) for index in range(5)]
    sizes = zip(synthesis.layer_channels, synthesis.layer_sizes, strict=True)
    assert shapes == [(2, c, size, size) for c, size in sizes]
    some = synthesis(ws, taps=(3,)).taps
    assert list(some) == [3]
    assert torch.equal(some[3], tapped.taps[3])


def test_taps_before_noise_ignore_this_layers_noise_only(synthesis: Synthesis) -> None:
    ws = normal(2, 6, 10)
    quiet = [torch.zeros(1)] * 2 + [layer.noise for layer in synthesis._convolutions()[2:]]
    later = synthesis(ws, taps=(0, 1, 2), taps_before_noise=True)
    assert torch.equal(later.image, synthesis(ws).image)
    assert torch.equal(later.taps[0], synthesis(ws, noise="none", taps=(0,)).taps[0])
    assert not torch.equal(later.taps[1], synthesis(ws, noise=quiet, taps=(1,)).taps[1])
    with torch.no_grad():
        synthesis._convolutions()[0].strength.zero_()
    torch.testing.assert_close(
        synthesis(ws, taps=(1,), taps_before_noise=True).taps[1], synthesis(ws, noise=quiet, taps=(1,)).taps[1]
    )


def test_injection_sees_every_layer_and_replaces_it(synthesis: Synthesis) -> None:
    ws = normal(2, 6, 10)
    truth = synthesis(ws, taps="all")
    seen: list[int] = []

    def replace_two(index: int, x: Tensor) -> Tensor:
        seen.append(index)
        return torch.zeros_like(x) if index == 2 else x

    changed = synthesis(ws, inject=replace_two, taps="all")
    assert seen == [0, 1, 2, 3, 4]
    assert torch.equal(changed.taps[1], truth.taps[1])
    assert not changed.taps[2].any()
    assert (changed.image - truth.image).abs().max() > 1e-3


def test_noise_kinds(synthesis: Synthesis) -> None:
    ws = normal(2, 6, 10)
    constant = synthesis(ws, noise="const").image
    assert torch.equal(synthesis(ws).image, constant)
    given = [layer.noise.view(1, 1, *layer.noise.shape) for layer in synthesis._convolutions()]
    assert torch.equal(synthesis(ws, noise=given).image, constant)
    first = synthesis(ws, noise="random", generator=seeded(1)).image
    assert torch.equal(first, synthesis(ws, noise="random", generator=seeded(1)).image)
    assert not torch.equal(first, synthesis(ws, noise="random", generator=seeded(2)).image)
    same_code = synthesis(ws[:1].expand(2, -1, -1), noise="random", generator=seeded(1)).image
    assert not torch.equal(same_code[0], same_code[1])
    zeros = [torch.zeros(1, 1, size, size) for size in synthesis.layer_sizes]
    torch.testing.assert_close(synthesis(ws, noise="none").image, synthesis(ws, noise=zeros).image)


def test_fresh_networks_show_no_noise() -> None:
    network = StyleGenerator(TINY, 8, seeded())
    z = normal(2, 12)
    torch.testing.assert_close(network(z, noise="random", generator=seeded(1)), network(z, noise="none"))


def test_sampling_leaves_the_global_generator_alone() -> None:
    network = StyleGenerator(replace(TINY, noise="random"), 8, seeded())
    before = torch.get_rng_state()
    network(normal(2, 12), generator=seeded(3))
    assert torch.equal(torch.get_rng_state(), before)


def test_synthesis_says_what_is_missing(synthesis: Synthesis) -> None:
    ws = normal(1, 6, 10)
    with pytest.raises(ConfigError, match="either ws or styles"):
        synthesis()
    with pytest.raises(ConfigError, match="generator"):
        synthesis(ws, noise="random")
    with pytest.raises(ConfigError, match="3 styles for 8 layers"):
        synthesis(styles=synthesis.styles(ws)[:3])
    with pytest.raises(ConfigError, match="2 noise maps for 5 layers"):
        synthesis(ws, noise=[torch.zeros(1)] * 2)


# ------------------------------------------------------------------------------------------------------- borders
def test_borders_of_zeros_are_no_borders(synthesis: Synthesis) -> None:
    ws = normal(2, 6, 10)
    borders = {0: synthesis.constant.detach()}
    for index, layer in enumerate(synthesis._convolutions()):
        size, width = synthesis.layer_sizes[index], (layer.weight.shape[0] if layer.up == 2 else layer.weight.shape[1])
        side = size + 3 if layer.up == 2 else size + 2
        borders[index + 1] = torch.zeros(2, width, side, side)
    torch.testing.assert_close(synthesis(ws, borders=borders).image, synthesis(ws).image)


def test_a_border_reaches_the_edge_first_and_its_centre_never_counts(synthesis: Synthesis) -> None:
    ws = normal(1, 6, 10)
    border = normal(1, synthesis.layer_channels[1], 12, 12)
    plain = synthesis(ws, taps=(2,)).taps[2]
    changed = synthesis(ws, taps=(2,), borders={3: border}).taps[2]
    difference = (changed - plain).abs().amax((0, 1))
    assert (difference[0] > 0).all()
    assert not difference[1:-1, 1:-1].any()
    # Larger maps are cropped centrally: the ring that counts is that of the 10 inner pixels.
    other = border.clone()
    other[:, :, 2:-2, 2:-2] = 9.0
    other[:, :, 0] = other[:, :, -1] = 9.0
    assert torch.equal(synthesis(ws, taps=(2,), borders={3: other}).taps[2], changed)


def test_the_first_border_replaces_the_constant_per_sample(synthesis: Synthesis) -> None:
    ws = normal(1, 6, 10).expand(2, -1, -1)
    start = normal(2, synthesis.layer_channels[0], 6, 6).requires_grad_(True)
    image = synthesis(ws, borders={0: start}).image
    assert not torch.equal(image[0], image[1])
    (slope,) = torch.autograd.grad(image.square().sum(), start)
    assert slope[:, :, 1:-1, 1:-1].abs().min() > 0
    assert not slope[:, :, 0].any()


def test_borders_use_the_scaled_form() -> None:
    scaled, grouped = (Synthesis(replace(TINY, modulation=form), 8, seeded()) for form in ("scaled", "grouped"))  # type: ignore[arg-type]
    ws, border = normal(2, 4, 10), normal(1, 8, 6, 6)
    torch.testing.assert_close(
        grouped(ws, borders={1: border}).image, scaled(ws, borders={1: border}).image, atol=1e-5, rtol=1e-4
    )


# ---------------------------------------------------------------------------------------------- numbers and layout
@pytest.mark.parametrize("modulation", ["scaled", "grouped"])
@pytest.mark.parametrize("folded", [False, True])
def test_bf16_channels_last_stays_near_fp32(modulation: str, folded: bool) -> None:
    options = replace(TINY, modulation=modulation, folded=folded)  # type: ignore[arg-type]
    generator, judge = StyleGenerator(options, 16, seeded()), StyleDiscriminator(options, 16, seeded(1))
    z = normal(4, 12)
    truth = generator(z)
    logits = judge(truth)
    to_channels_last(generator)
    to_channels_last(judge)
    with torch.autocast("cpu", torch.bfloat16):
        image = generator(z)
        tapped = generator.synthesis(generator.mapping(z), taps="all").taps
        found = judge(truth)
        x = judge.stem(image)
        inside = judge.body(x, taps=(16, 8, 4)).taps
    assert image.dtype == found.dtype == torch.float32
    assert (image - truth).abs().max() < 0.05 * truth.abs().max()
    assert (found - logits).abs().max() < 0.05 * max(1.0, float(logits.detach().abs().max()))
    assert {value.dtype for value in tapped.values()} == {torch.bfloat16}
    for value in inside.values():
        assert value.is_contiguous(memory_format=torch.channels_last)
    if modulation == "scaled":
        assert all(value.is_contiguous(memory_format=torch.channels_last) for value in tapped.values())


@pytest.mark.parametrize("architecture", ["resnet", "skip", "orig"])
def test_r1_and_path_lengths_differentiate_twice(architecture: str) -> None:
    options = replace(TINY, d_architecture=architecture, g_architecture=architecture)  # type: ignore[arg-type]
    generator, judge = StyleGenerator(options, 8, seeded()), StyleDiscriminator(options, 8, seeded(1))
    r1_penalty(judge, normal(4, 3, 8, 8)).backward()
    weights = [layer.weight.grad for _, layer in judge.layers]
    assert all(slope is not None and slope.isfinite().all() and slope.any() for slope in weights)
    ws = generator.mapping(normal(2, 12))
    image = generator.synthesis(ws).image
    (jacobian,) = torch.autograd.grad((image * normal(*image.shape)).sum(), ws, create_graph=True)
    jacobian.square().sum().backward()
    slopes = [layer.weight.grad for layer in generator.synthesis._convolutions()]
    slopes += [layer.weight.grad for layer in generator.mapping.network.layers]  # type: ignore[misc]
    assert all(slope is not None and slope.isfinite().all() and slope.any() for slope in slopes)


def test_networks_follow_their_generator_and_copy_deeply() -> None:
    first, second = (StyleGenerator(TINY, 8, seeded()) for _ in range(2))
    state, other = first.state_dict(), second.state_dict()
    assert state.keys() == other.keys()
    assert all(torch.equal(value, other[name]) for name, value in state.items())
    copied = copy.deepcopy(first)
    with torch.no_grad():
        copied.synthesis.constant.zero_()
    assert first.synthesis.constant.any()
    z = normal(2, 12)
    assert not torch.equal(copied(z), first(z))


def test_filters_survive_inference_mode() -> None:
    network = StyleDiscriminator(replace(TINY, channel_max=5), 8, seeded())
    with torch.inference_mode():
        network(normal(4, 3, 8, 8))
    network(normal(4, 3, 8, 8)).sum().backward()
