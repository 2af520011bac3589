"""Modulated pointwise layers: the field's encoding and layers, and the renderer from features to images."""

from __future__ import annotations

from typing import cast

import pytest
import torch

from harness.types import ConfigError
from methods.blocks.modulated_field import ModulatedField, ModulatedLinear, octave_encoding
from methods.blocks.modulation import modulated_conv
from methods.blocks.neural_renderer import Edge, NeuralRenderer, PointwiseLayer, upsampled
from methods.blocks.style_synthesis import ToImage


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def renderer(edge: Edge = "replicate", learnt_start: bool = False) -> NeuralRenderer:
    return NeuralRenderer(6, 4, {8: 5, 16: 4}, 7, seeded(), edge=edge, learnt_start=learnt_start)


def inputs(n: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(n, 6, 4, 4, generator=seeded(1)), torch.randn(n, 6, 7, generator=seeded(2))


def test_the_encoding_has_the_point_and_sines_and_cosines_of_powers_of_two_without_pi() -> None:
    made = octave_encoding(torch.tensor([[0.5, 0.0, -1.0]]), 2)
    x = torch.tensor([0.5, 0.0, -1.0])
    torch.testing.assert_close(made[0], torch.cat((x, x.sin(), x.cos(), (2 * x).sin(), (2 * x).cos())))
    assert octave_encoding(torch.zeros(1, 3), 10).shape[-1] == 63


def test_a_modulated_layer_is_a_modulated_convolution_of_one_pixel() -> None:
    layer = ModulatedLinear(6, 5, 7, seeded(), gain=1.3)
    rows, w = torch.randn(2, 9, 6, generator=seeded(1)), torch.randn(2, 7, generator=seeded(2))
    maps = rows.transpose(1, 2)[..., None]
    expected = modulated_conv(maps, layer.weight[:, :, None, None], layer.affine(w), modulation="grouped") * 1.3
    torch.testing.assert_close(layer(rows, w), expected[..., 0].transpose(1, 2), atol=1e-5, rtol=1e-5)


def test_every_layer_of_the_field_has_a_code_of_its_own() -> None:
    field = ModulatedField(6, 8, 3, 4, 7, seeded())
    rows, codes = torch.randn(1, 9, 6, generator=seeded(1)), torch.randn(1, 3, 7, generator=seeded(2))
    raw, features = field(rows, codes)
    assert raw.shape == (1, 9)
    assert features.shape == (1, 9, 4)
    for index in range(3):
        other = codes.clone()
        other[:, index] += 1
        assert not torch.allclose(field(rows, other)[0], raw)


def test_without_to_rgb_weights_the_image_is_the_first_three_features_enlarged() -> None:
    network = renderer()
    for layer in network.to_images:
        torch.nn.init.zeros_(cast(ToImage, layer).weight)
    features, codes = inputs()
    expected = upsampled(upsampled(features[:, :3], "replicate"), "replicate")
    torch.testing.assert_close(network(features, codes), expected)


def test_a_learnt_start_takes_the_second_code() -> None:
    network = renderer(learnt_start=True)
    features, codes = inputs()
    first = network(features, codes, resolution=4)
    assert not torch.allclose(first, features[:, :3])
    for index in (0, 2, 3, 4, 5):
        other = codes.clone()
        other[:, index] += 1
        assert torch.equal(network(features, other, resolution=4), first)


@pytest.mark.parametrize(("index", "first"), [(0, 99), (1, 8), (2, 8), (3, 8), (4, 16), (5, 16)])
def test_codes_are_counted_as_in_stylegan2(index: int, first: int) -> None:
    """``first``: the smallest image that a code changes. Code 3 is to-RGB of 8 pixels and the first layer of 16."""
    network = renderer()
    features, codes = inputs()
    other = codes.clone()
    other[:, index] += 1
    for size in (4, 8, 16):
        same = torch.allclose(network(features, codes, resolution=size), network(features, other, resolution=size))
        assert same == (size < first)


def test_a_fading_size_goes_from_the_enlarged_smaller_image_to_the_whole() -> None:
    network = renderer()
    features, codes = inputs()
    small, whole = network(features, codes, resolution=8), network(features, codes)
    start = network(features, codes, alpha=0.0)
    torch.testing.assert_close(start, upsampled(small, "replicate"))
    torch.testing.assert_close(network(features, codes, alpha=0.25), torch.lerp(start, whole, 0.25))


def test_pixels_see_their_neighbours_only_through_the_upsampling() -> None:
    network = renderer()
    features, codes = inputs(1)
    other = features.clone()
    other[..., 0, 0] += 1
    changed = (network(features, codes) != network(other, codes)).any(1)[0]
    assert changed[:4, :4].all()
    assert not changed[7:].any()
    assert not changed[:, 7:].any()


def test_a_constant_keeps_its_value_at_a_replicated_border_and_fades_into_zeros() -> None:
    flat = torch.ones(1, 2, 4, 4)
    assert torch.equal(upsampled(flat, "replicate"), torch.ones(1, 2, 8, 8))
    faded = upsampled(flat, "zero")
    torch.testing.assert_close(faded[0, 0, 0, :4], torch.tensor([0.5625, 0.75, 0.75, 0.75]))
    assert torch.equal(faded[..., 1:-1, 1:-1], torch.ones(1, 2, 6, 6))


def test_noise_is_silent_at_first_and_drawn_from_a_generator_later() -> None:
    network = renderer()
    features, codes = inputs()
    quiet = network(features, codes, noise="none")
    assert torch.equal(network(features, codes, noise="random", generator=seeded(3)), quiet)
    for layer in network.layers:
        torch.nn.init.ones_(cast(PointwiseLayer, layer).strength)
    drawn = [network(features, codes, noise="random", generator=seeded(seed)) for seed in (3, 3, 4)]
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    assert torch.equal(network(features, codes), network(features, codes, noise="const"))
    with pytest.raises(ConfigError, match="random noise needs a generator"):
        network(features, codes, noise="random")


def test_resolutions_must_double_and_the_start_needs_three_features() -> None:
    with pytest.raises(ValueError, match="must double from 4"):
        NeuralRenderer(6, 4, {16: 5}, 7, seeded())
    with pytest.raises(ValueError, match="needs 3 features"):
        NeuralRenderer(2, 4, {8: 5}, 7, seeded())
