"""FiLM-SIREN layers, conditioning and fields against closed forms."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from methods.blocks.siren import EmbeddingGrid, FilmSine, MappingNetwork, SirenField, positional_encoding

ZERO = {"frequency": (15.0, 30.0), "omega": 25.0}


def field(**kwargs: object) -> SirenField:
    torch.manual_seed(0)
    return SirenField(**{"width": 16, "depth": 2, "frequency": (5.0, 10.0), "omega": 8.3, **kwargs})  # type: ignore[arg-type]


def inputs(batch: int = 2, count: int = 7) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    points = torch.rand(batch, count, 3, generator=generator) * 2 - 1
    directions = torch.nn.functional.normalize(torch.randn(batch, count, 3, generator=generator), dim=-1)
    return points, directions, *torch.randn(2, batch, 3, 16, generator=generator) * 0.3


def test_film_layer_on_zero_weights_gives_the_sine_of_bias_and_phase() -> None:
    bias = torch.tensor([[0.3, -0.2]])
    out = FilmSine.apply(torch.rand(1, 5, 4), torch.zeros(1, 4, 2), bias + math.pi / 2, torch.float32)
    torch.testing.assert_close(out, torch.sin(bias + math.pi / 2).expand(1, 5, 2))


def test_film_sine_has_the_derivatives_of_a_sine() -> None:
    generator = torch.Generator().manual_seed(0)
    h, w, b = (torch.randn(*s, generator=generator, dtype=torch.float64) for s in ((2, 5, 3), (2, 3, 4), (2, 4)))
    arguments = tuple(x.requires_grad_() for x in (h, w, b))
    assert torch.autograd.gradcheck(lambda *x: FilmSine.apply(*x, torch.float64), arguments)


def test_field_equals_the_unfolded_equations() -> None:
    net = field()
    points, directions, frequencies, phases = inputs()
    raw, colour = net(points, directions, frequencies, phases)
    f = 5 * frequencies + 10
    h = points
    for k, layer in enumerate(net.layers):
        h = torch.sin(f[:, k, None] * layer(h) + phases[:, k, None])
    torch.testing.assert_close(raw, net.density(h).squeeze(-1), rtol=1e-4, atol=1e-5)
    h = torch.sin(f[:, -1, None] * net.colour(torch.cat((directions, h), -1)) + phases[:, -1, None])
    torch.testing.assert_close(colour, torch.sigmoid(net.rgb(h)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("activation", ["sine", "relu_pe"])
@pytest.mark.parametrize("conditioning", ["film", "concat"])
@pytest.mark.parametrize("view", [True, False])
def test_every_kind_of_field_learns_from_every_input(activation: str, conditioning: str, view: bool) -> None:
    net = field(activation=activation, conditioning=conditioning, view_direction=view, code=8)
    mapping = MappingNetwork(4, 8, 2, 3, 16)
    z = torch.randn(2, 4, generator=torch.Generator().manual_seed(2))
    points, directions, _, _ = inputs()
    raw, colour = net(points, directions, *net.condition(mapping, z))
    assert raw.shape == (2, 7)
    assert colour.shape == (2, 7, 3)
    assert ((colour > 0) & (colour < 1)).all()
    (raw.sum() + colour.sum()).backward()
    assert all(parameter.grad is not None for parameter in net.parameters())
    trunk = list(mapping.hidden.parameters())
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in trunk)
    moved = net(points, -directions, *net.condition(mapping, z))
    torch.testing.assert_close(moved[0], raw)
    assert torch.equal(moved[1], colour) is not view


def test_concatenating_a_code_equals_a_bias_per_image() -> None:
    net = field(conditioning="concat", code=8, depth=1)
    mapping = MappingNetwork(4, 8, 2, 2, 16)
    z = torch.randn(2, 4)
    points, directions, _, _ = inputs()
    raw, _ = net(points, directions, *net.condition(mapping, z))
    assert net.code is not None
    wide = torch.cat((net.layers[0].weight, net.code.weight), 1)
    joined = torch.cat((points, mapping.trunk(z)[:, None].expand(-1, 7, -1)), -1)
    h = torch.sin(10 * (joined @ wide.t() + net.layers[0].bias))
    torch.testing.assert_close(raw, net.density(h).squeeze(-1), rtol=1e-4, atol=1e-5)


def test_initial_weights_have_the_published_ranges() -> None:
    net = SirenField(width=256, depth=8, **ZERO)  # type: ignore[arg-type]
    assert net.layers[0].weight.abs().max() <= 1 / 3
    bound = math.sqrt(6 / 256) / 25
    for layer in (*list(net.layers)[1:], net.density, net.rgb):
        assert 0.9 * bound < layer.weight.abs().max() <= bound


def test_parameter_counts_of_the_paper() -> None:
    net = SirenField(width=256, depth=8, **ZERO)  # type: ignore[arg-type]
    assert sum(p.numel() for p in net.parameters()) == 529_156  # 0.529 M
    assert sum(p.numel() for p in MappingNetwork(256, 256, 3, 9, 256).parameters()) == 1_381_632  # 1.38 M


def test_mapping_splits_frequencies_from_phases() -> None:
    mapping = MappingNetwork(4, 8, 1, 3, 5)
    z = torch.randn(2, 4)
    frequencies, phases = mapping(z)
    flat = mapping.out(mapping.trunk(z))
    torch.testing.assert_close(frequencies.flatten(1), flat[:, :15])
    torch.testing.assert_close(phases.flatten(1), flat[:, 15:])


def test_embedding_grid_is_exact_at_voxels_and_zero_outside() -> None:
    grid = EmbeddingGrid(2, 3, 1.0)
    corners = torch.tensor([[[-1.0, -1.0, -1.0], [1.0, -1.0, 0.0], [0.0, 0.0, 0.0], [3.0, 0.0, 0.0]]])
    features = grid(corners)[0]
    volume = grid.volume[0]  # [C, z, y, x]
    expected = torch.stack((volume[:, 0, 0, 0], volume[:, 1, 0, 2], volume[:, 1, 1, 1], torch.zeros(2)))
    torch.testing.assert_close(features, expected)


def test_field_with_a_grid_uses_it() -> None:
    net = field(grid=EmbeddingGrid(4, 3, 0.1))
    points, directions, frequencies, phases = inputs()
    net(points, directions, frequencies, phases)[0].sum().backward()
    assert net.grid is not None
    assert net.grid.volume.grad is not None
    assert net.grid.volume.grad.abs().sum() > 0


def test_positional_encoding_holds_the_point_and_its_waves() -> None:
    x = torch.tensor([0.25])
    out = positional_encoding(x, 2)
    expected = [0.25, math.sin(math.pi / 4), math.sin(math.pi / 2), math.cos(math.pi / 4), math.cos(math.pi / 2)]
    torch.testing.assert_close(out, torch.tensor(expected))


def test_bfloat16_drifts_little_from_float32() -> None:
    net = field(width=48, depth=3)
    generator = torch.Generator().manual_seed(3)
    points = torch.rand(2, 500, 3, generator=generator) * 2 - 1
    directions = torch.nn.functional.normalize(points, dim=-1)
    frequencies, phases = torch.randn(2, 2, 4, 48, generator=generator) * 0.3
    exact = net(points, directions, frequencies, phases)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = net(points, directions, frequencies, phases)
    assert rough[0].dtype == torch.float32
    spread = exact[0].std()
    assert (rough[0] - exact[0]).square().mean().sqrt() < 0.05 * spread
    assert (rough[1] - exact[1]).abs().max() < 0.02
