"""Progressive discriminators: sizes, fades, coordinates, widths."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from methods.blocks.progressive import CoordConv2d, ProgressiveDiscriminator, ResidualBlock

WIDTHS = {16: 8, 8: 12, 4: 12, 2: 16}


def images(size: int, count: int = 4) -> torch.Tensor:
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(size)) * 2 - 1


@pytest.mark.parametrize("pool", [True, False])
@pytest.mark.parametrize("coordinates", [True, False])
@pytest.mark.parametrize("size", [4, 8, 16])
def test_every_resolution_has_an_entry(pool: bool, coordinates: bool, size: int) -> None:
    net = ProgressiveDiscriminator(WIDTHS, outputs=7, pool=pool, coordinates=coordinates)
    assert net(images(size), 0.5).shape == (4, 7)


def test_start_of_a_fade_sees_only_the_half_size_image() -> None:
    net = ProgressiveDiscriminator(WIDTHS)
    image = images(16)
    half = F.interpolate(image, scale_factor=0.5, mode="nearest")
    torch.testing.assert_close(net(image, 0.0), net(half))


def test_fade_is_linear_in_its_features() -> None:
    net = ProgressiveDiscriminator({4: 6, 2: 6})  # the faded features feed one linear layer
    image = images(4)
    blend = 0.3 * net(image, 1.0) + 0.7 * net(image, 0.0)
    torch.testing.assert_close(net(image, 0.3), blend)


def test_coordinates_equal_two_further_channels() -> None:
    conv = CoordConv2d(3, 5, 3, stride=2, padding=1)
    image = images(8)
    grid = torch.linspace(-1, 1, 8)
    columns, rows = grid.view(1, 1, 1, 8).expand(4, 1, 8, 8), grid.view(1, 1, 8, 1).expand(4, 1, 8, 8)
    expected = F.conv2d(torch.cat((image, columns, rows), 1), conv.weight, conv.bias, stride=2, padding=1)
    torch.testing.assert_close(conv(image), expected, rtol=1e-4, atol=1e-5)


def test_a_discriminator_with_coordinates_tells_a_shifted_image() -> None:
    net = ProgressiveDiscriminator({4: 6, 2: 6})
    flat = torch.zeros(1, 3, 4, 4)
    out = net.blocks["4"].first(net.from_rgb["4"](flat))  # type: ignore[index, operator]
    assert out[..., 1:-1, 1:-1].std() > 1e-3  # constant input, padding cut off: only coordinates vary


def test_skips_are_projected_where_the_paper_does() -> None:
    assert ResidualBlock(8, 8, pool=True, coordinates=True).skip is None
    assert ResidualBlock(8, 9, pool=True, coordinates=True).skip is not None
    assert ResidualBlock(8, 8, pool=False, coordinates=False).skip is not None


def test_parameter_count_of_the_celeba_encoder() -> None:
    widths = dict(zip([256, 128, 64, 32, 16, 8, 4, 2], [32, 64, 128, 256, 400, 400, 400, 400], strict=True))
    net = ProgressiveDiscriminator(widths, outputs=1 + 256 + 2, pool=False)
    assert sum(p.numel() for p in net.parameters()) == 13_291_075  # 13.29 M


def test_parameter_count_of_the_cats_discriminator() -> None:
    widths = dict(zip([256, 128, 64, 32, 16, 8, 4, 2], [32, 64, 128, 256, 400, 400, 400, 400], strict=True))
    net = ProgressiveDiscriminator(widths, pool=False, coordinates=False)
    assert sum(p.numel() for p in net.parameters()) / 1e6 == pytest.approx(12.81, abs=0.01)


def test_minibatch_deviation_stays_within_its_group() -> None:
    net = ProgressiveDiscriminator(WIDTHS, minibatch_groups=2)
    image = images(8)
    both = net(image)
    changed = image.clone()
    changed[2:] *= 0.1
    torch.testing.assert_close(net(changed)[:2], both[:2])
    same = net(image[:1].expand(2, -1, -1, -1))
    assert not torch.allclose(same[0], both[0])


def test_sizes_without_an_entry_are_refused() -> None:
    net = ProgressiveDiscriminator(WIDTHS)
    with pytest.raises(ValueError, match="no entry"):
        net(images(32))
    with pytest.raises(ValueError, match="every resolution"):
        ProgressiveDiscriminator({16: 8, 4: 8, 2: 8})
