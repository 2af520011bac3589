"""ADA's colours against the product of five 4x4 matrices, and the optional ends of the pipe against known signals."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Generator, Tensor

from methods.blocks.augmentation_colour import colour_matrix, recolour
from methods.blocks.augmentation_corruption import SPECTRUM, add_noise, band_operators, cut_out, filter_bands

NONE = {"brightness": 0.0, "contrast": 1.0, "luma": 1.0, "hue": 0.0, "saturation": 1.0}
ALWAYS = torch.tensor(1.0)


def _seed(seed: int = 1) -> Generator:
    return Generator().manual_seed(seed)


def _made(**values: float) -> tuple[Tensor, Tensor]:
    return colour_matrix(**{name: torch.tensor([v], dtype=torch.float64) for name, v in {**NONE, **values}.items()})


def _product(brightness: float, contrast: float, luma: float, hue: float, saturation: float) -> Tensor:
    """The five maps on (r, g, b, 1) one after the other, each from its definition."""
    grey = torch.full((3, 1), 1 / math.sqrt(3), dtype=torch.float64)
    eye = torch.eye(3, dtype=torch.float64)
    cross = torch.tensor([[0, -1, 1], [1, 0, -1], [-1, 1, 0]], dtype=torch.float64) / math.sqrt(3)
    steps = [torch.eye(4, dtype=torch.float64) for _ in range(5)]
    steps[0][:3, 3] = brightness
    steps[1][:3, :3] *= contrast
    steps[2][:3, :3] = eye - 2 * grey @ grey.mT if luma < 0 else eye
    steps[3][:3, :3] = torch.matrix_exp(hue * cross)
    steps[4][:3, :3] = grey @ grey.mT + saturation * (eye - grey @ grey.mT)
    product = torch.eye(4, dtype=torch.float64)
    for step in steps:
        product = step @ product
    return product


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"brightness": 0.3},
        {"contrast": 1.7},
        {"luma": -1.0},
        {"hue": 2.1},
        {"saturation": 0.2},
        {"brightness": -0.2, "contrast": 0.6, "luma": -1.0, "hue": -0.9, "saturation": 3.0},
    ],
)
def test_the_closed_form_is_the_product_of_the_five_maps(values: dict[str, float]) -> None:
    matrix, offset = _made(**values)
    product = _product(**{**NONE, **values})
    torch.testing.assert_close(matrix[0], product[:3, :3], atol=1e-12, rtol=0)
    torch.testing.assert_close(offset.expand(3), product[:3, 3], atol=1e-12, rtol=0)
    if not values:
        assert torch.equal(matrix[0], torch.eye(3, dtype=torch.float64))


def test_a_third_of_a_turn_exchanges_the_channels() -> None:
    matrix, _ = _made(hue=2 * math.pi / 3)
    torch.testing.assert_close(matrix[0] @ torch.tensor([1.0, 0, 0]).double(), torch.tensor([0, 1.0, 0]).double())


def test_a_grey_image_of_one_channel_goes_the_way_of_three_equal_ones() -> None:
    grey = torch.rand(32, 1, 4, 4, generator=_seed()) * 2 - 1
    one = recolour(grey, ALWAYS, _seed(2))
    torch.testing.assert_close(recolour(grey.expand(-1, 3, -1, -1), ALWAYS, _seed(2)), one.expand(-1, 3, -1, -1))


def test_sizes_and_shares_of_colour_changes() -> None:
    n = 20_000
    images = torch.tensor([0.5, -0.25, 0.0])[:, None, None].expand(n, 3, 1, 1)
    made = recolour(images, ALWAYS, _seed())[:, :, 0, 0]
    before = images[:, :, 0, 0]
    chroma = (made - made.mean(1, keepdim=True)).norm(dim=1) / (before - before.mean(1, keepdim=True)).norm(dim=1)
    # On the plane of chroma the factor is contrast times saturation: 2^N(0, .5^2 + 1).
    assert chroma.log2().mean().abs() < 0.03
    assert chroma.log2().std().item() == pytest.approx(math.sqrt(1.25), rel=0.03)
    black = recolour(torch.zeros(n, 1, 1, 1), ALWAYS, _seed())
    assert black.mean().abs() < 0.01
    # contrast * brightness: sqrt E 4^N(0,.5) = exp((ln 2 / 2)^2) times 0.2.
    assert black.std().item() == pytest.approx(0.2 * math.exp((math.log(2) / 2) ** 2), rel=0.05)
    p = 0.3
    share = (recolour(torch.zeros(n, 1, 1, 1), torch.tensor(p), _seed()) != 0).float().mean().item()
    assert share == pytest.approx(p, abs=4 * math.sqrt(0.25 / n))


# ---------------------------------------------------------------------------------------------------- optional ends
@pytest.mark.parametrize("size", [4, 8, 33, 64])
def test_bands_sum_to_the_identity_and_the_lowest_keeps_a_constant(size: int) -> None:
    bands = band_operators(size, torch.float64, torch.device("cpu"))
    torch.testing.assert_close(bands.sum(0), torch.eye(size, dtype=torch.float64), atol=1e-12, rtol=0)
    flat = torch.ones(size, dtype=torch.float64)
    expected = torch.stack([flat, *[0 * flat] * 3])
    torch.testing.assert_close(bands @ flat, expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize(("band", "cycles"), [(0, 4), (1, 24), (2, 48), (3, 110)])
def test_each_band_passes_its_octave(band: int, cycles: int) -> None:
    wave = torch.cos(torch.arange(256, dtype=torch.float64) * (math.pi * cycles / 128))
    passed = (band_operators(256, torch.float64, torch.device("cpu")) @ wave)[:, 64:192]
    power = passed.square().mean(1) / wave[64:192].square().mean()
    assert power.argmax() == band
    assert power[band] > 0.4


def test_a_constant_image_shows_the_lowest_gain_after_the_four_normalisations() -> None:
    made = filter_bands(torch.ones(4_000, 1, 4, 4), ALWAYS, _seed())[:, 0]
    torch.testing.assert_close(made, made[:, :1, :1].expand_as(made))
    gain = torch.exp2(torch.randn(4, 200_000, generator=_seed(9)))
    share = torch.tensor(SPECTRUM)[:, None]
    # Squared, since both axes are filtered.
    expected = gain[0].square() * (share * gain.square() + 1 - share).reciprocal().prod(0)
    assert made[:, 0, 0].mean().item() == pytest.approx(expected.mean().item(), rel=0.05)


def test_noise_has_the_drawn_size() -> None:
    made = add_noise(torch.zeros(2_000, 1, 16, 16), ALWAYS, _seed())
    sizes = made.std((1, 2, 3))
    assert sizes.square().mean().sqrt().item() == pytest.approx(0.1, rel=0.05)
    assert sizes.mean().item() == pytest.approx(0.1 * math.sqrt(2 / math.pi), rel=0.05)


def test_a_square_of_half_the_size_is_cut() -> None:
    made = cut_out(torch.ones(2_000, 2, 16, 16), ALWAYS, _seed())
    assert torch.equal(made[:, 0], made[:, 1])
    gone = (made[:, 0] == 0).sum((1, 2))
    assert gone.max() == 64
    assert gone.min() >= 16
    # Half of the centres leave a whole side, 1/2, in the image, the others 3/8 in the mean: 7/16 of the size.
    assert gone.float().mean().item() == pytest.approx(7**2, rel=0.05)
