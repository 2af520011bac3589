"""What holds for any feature volume, growth and renderer: linear fields, order of growth, constants."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from methods.blocks.feature_volume import Box, sample_volume
from methods.blocks.neural_renderer import NeuralRenderer, upsampled
from methods.volumegan.growing import Growth

numbers = st.floats(-2, 2, width=32)
sizes = st.integers(2, 6)


@settings(deadline=None, max_examples=30)
@given(sizes, sizes, sizes, st.tuples(numbers, numbers, numbers, numbers), st.integers(0, 99))
def test_a_field_that_is_linear_in_space_is_reproduced_inside_any_box(
    width: int, height: int, depth: int, slope: tuple[float, float, float, float], seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    low = torch.rand(3, generator=generator) * 4 - 2
    high = low + 0.1 + torch.rand(3, generator=generator)
    axes = [torch.linspace(float(a), float(b), n) for a, b, n in zip(low, high, (width, height, depth), strict=True)]
    z, y, x = torch.meshgrid(axes[2], axes[1], axes[0], indexing="ij")
    a, b, c, d = slope
    box: Box = (tuple(low.tolist()), tuple(high.tolist()))
    points = low + torch.rand(1, 20, 3, generator=generator) * (high - low)
    expected = a * points[..., 0] + b * points[..., 1] + c * points[..., 2] + d
    sampled = sample_volume((a * x + b * y + c * z + d)[None, None], points, box)
    torch.testing.assert_close(sampled[..., 0], expected, atol=1e-4, rtol=1e-4)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 99))
def test_samples_stay_between_the_extremes_of_the_volume(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    volume = torch.randn(1, 1, 3, 4, 5, generator=generator)
    points = torch.randn(1, 50, 3, generator=generator) * 2
    sampled = sample_volume(volume, points, ((-1.0, -1.0, -1.0), (1.0, 1.0, 1.0)))
    assert sampled.min() >= volume.min() - 1e-5
    assert sampled.max() <= volume.max() + 1e-5


@settings(deadline=None, max_examples=100)
@given(
    st.integers(1, 4),
    st.floats(0.0, 0.4),
    st.floats(0.0, 0.4),
    st.lists(st.floats(0, 1), min_size=2, max_size=6),
)
def test_images_only_grow(levels: int, hold: float, fade: float, progress: list[float]) -> None:
    growth = Growth(tuple(8 * 2**k for k in range(levels)), hold, fade)
    reached = [growth.at(p) for p in sorted(progress)]
    assert all(0.0 <= alpha <= 1.0 for _, alpha in reached)
    assert reached == sorted(reached)
    assert all(size in growth.sizes for size, _ in reached)
    assert growth.at(0.0)[0] == 8 or hold == 0.0


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 99), st.sampled_from([4, 8]), st.integers(0, 2))
def test_a_flat_image_stays_flat_through_the_renderer(seed: int, start: int, levels: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    widths = {start * 2**k: 4 for k in range(1, levels + 1)}
    network = NeuralRenderer(5, start, widths, 6, generator, edge="replicate")
    features = torch.randn(1, 5, 1, 1, generator=generator).expand(-1, -1, start, start)
    codes = torch.randn(1, network.codes, 6, generator=generator)
    image = network(features, codes)
    torch.testing.assert_close(image, image[..., :1, :1].expand_as(image), atol=1e-5, rtol=1e-5)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 99), st.sampled_from(["zero", "replicate"]))
def test_upsampling_keeps_the_range(seed: int, edge: str) -> None:
    x = torch.rand(1, 2, 4, 4, generator=torch.Generator().manual_seed(seed))
    large = upsampled(x, edge)  # type: ignore[arg-type]
    assert large.min() >= 0
    assert large.max() <= x.max() + 1e-6
