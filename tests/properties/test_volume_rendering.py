"""Properties of sample placement and volume rendering quadrature."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from methods.blocks.volume_rendering import (
    Quadrature,
    absorb,
    composite,
    importance,
    median_depth,
    merge,
    quantiles,
    smoothed,
    stratified,
)

seeds = st.integers(0, 2**31 - 1)
LEFT = Quadrature("left", "relu", "finite")


def draw(seed: int, *shape: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def ray(seed: int, samples: int) -> tuple[Tensor, Tensor, Tensor]:
    """Sorted depths, raw densities of both signs and widely different size, colours."""
    z = 1 + draw(seed, 3, samples).cumsum(-1) + 1e-3
    raw = torch.randn(3, samples, generator=torch.Generator().manual_seed(seed + 1)) * 10 ** (4 * draw(seed, 3, 1) - 2)
    return z, raw, draw(seed + 2, 3, samples, 3)


@settings(deadline=None, max_examples=40)
@given(seed=seeds, samples=st.integers(2, 40))
def test_weights_are_a_partition_of_the_light(seed: int, samples: int) -> None:
    optical = draw(seed, 4, samples).double() * 10 ** (6 * draw(seed + 1, 4, 1).double() - 3)
    weights = absorb(optical)
    left = torch.exp(-optical.sum(-1))
    assert (weights >= 0).all()
    torch.testing.assert_close(weights.sum(-1) + left, torch.ones(4, dtype=torch.float64), rtol=0, atol=1e-12)
    single = absorb(optical.float())
    torch.testing.assert_close(single.sum(-1) + left.float(), torch.ones(4), rtol=0, atol=1e-5)


@settings(deadline=None, max_examples=30)
@given(seed=seeds, density=st.floats(0.01, 30), far=st.floats(0.1, 5), samples=st.integers(2, 50))
def test_homogeneous_medium_follows_beer_lambert(seed: int, density: float, far: float, samples: int) -> None:
    z = torch.linspace(1, 1 + far, samples).expand(1, samples)
    raw = torch.full((1, samples), density)
    out = composite(z, raw, torch.ones(1, samples, 3), Quadrature("midpoint", "relu"))
    expected = 1 - math.exp(-density * far)
    assert out.opacity.item() == pytest.approx(expected, abs=1e-5)
    assert out.colour[0, 0].item() == pytest.approx(expected, abs=1e-5)


@settings(deadline=None, max_examples=30)
@given(seed=seeds, samples=st.integers(2, 20), where=st.floats(0.05, 0.95))
def test_splitting_an_interval_changes_nothing(seed: int, samples: int, where: float) -> None:
    z, raw, colour = ray(seed, samples)
    whole = composite(z, raw, colour, LEFT)
    k = seed % (samples - 1)
    new = z[:, k] + where * (z[:, k + 1] - z[:, k])
    insert = lambda x, y: torch.cat((x[:, : k + 1], y[:, None], x[:, k + 1 :]), 1)  # noqa: E731
    # The last interval of a finite ray is as long as the one before it, so split any but the one that defines it.
    if k == samples - 2:
        return
    split = composite(insert(z, new), insert(raw, raw[:, k]), insert(colour, colour[:, k]), LEFT)
    torch.testing.assert_close(split.colour, whole.colour, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(split.opacity, whole.opacity, rtol=1e-4, atol=1e-5)


@settings(deadline=None, max_examples=30)
@given(seed=seeds, samples=st.integers(2, 20), rule=st.sampled_from(["left", "midpoint"]))
def test_depth_lies_between_the_samples(seed: int, samples: int, rule: str) -> None:
    z, raw, colour = ray(seed, samples)
    out = composite(z, raw, colour, Quadrature(rule, "softplus", "finite"))
    assert (out.depth >= z[:, 0] * out.opacity - 1e-4).all()
    assert (out.depth <= z[:, -1] * out.opacity + 1e-4).all()
    surface = out.surface(99.0)
    hit = out.opacity > 1e-3
    assert (surface[hit] >= z[:, 0][hit] - 1e-3).all()
    assert (surface[hit] <= z[:, -1][hit] + 1e-3).all()


@settings(deadline=None, max_examples=30)
@given(seed=seeds, samples=st.integers(2, 20), rule=st.sampled_from(["left", "midpoint"]))
def test_median_is_a_sample_with_half_the_opacity_on_either_side(seed: int, samples: int, rule: str) -> None:
    out = composite(*ray(seed, samples), Quadrature(rule, "relu", "finite"))
    median = median_depth(out, 99.0)
    hit = out.opacity > 1e-6
    assert (median[~hit] == 99.0).all()
    before = (out.weights * (out.z < median[:, None])).sum(-1)
    through = (out.weights * (out.z <= median[:, None])).sum(-1)
    assert (before <= out.opacity / 2 + 1e-6)[hit].all()
    assert (through >= out.opacity / 2 - 1e-6)[hit].all()


def test_median_passes_by_a_thin_veil() -> None:
    """An expected depth lies between veil and wall where nothing is; the median lies on the wall."""
    z = torch.linspace(1, 2, 11)[None]
    raw = torch.zeros(1, 11)
    raw[0, 2], raw[0, 8] = 3.0, 1e6
    out = composite(z, raw, torch.ones(1, 11, 3), LEFT)
    assert median_depth(out, 9.0).item() == pytest.approx(1.8)
    assert 1.3 < out.surface(9.0).item() < 1.75


@pytest.mark.parametrize("last", ["finite", "infinite"])
def test_opaque_first_sample_hides_the_rest(last: str) -> None:
    z, _, colour = ray(3, 6)
    raw = torch.ones(3, 6)
    raw[:, 0] = 1e8
    out = composite(z, raw, colour, Quadrature("left", "relu", last))
    torch.testing.assert_close(out.colour, colour[:, 0])
    torch.testing.assert_close(out.depth, z[:, 0])
    torch.testing.assert_close(out.opacity, torch.ones(3))


def test_empty_ray_shows_the_background() -> None:
    z, _, colour = ray(4, 6)
    sky = torch.tensor([0.55, 0.75, 0.95])
    out = composite(z, torch.full((3, 6), -1.0), colour, LEFT, background=sky)
    assert out.opacity.abs().max() == 0
    torch.testing.assert_close(out.colour, sky.expand(3, 3))
    assert (out.surface(7.0) == 7.0).all()


def test_infinite_last_interval_makes_a_background_plane_of_the_last_sample() -> None:
    z, _, colour = ray(5, 6)
    raw = torch.full((3, 6), -1.0)
    raw[:, -1] = 1e-3
    torch.testing.assert_close(composite(z, raw, colour, Quadrature()).opacity, torch.ones(3))


def test_last_back_gives_the_rest_to_the_last_sample_and_leaves_nothing_for_the_background() -> None:
    z, raw, colour = ray(6, 6)
    plain = composite(z, raw * 0.01, colour, LEFT)
    back = composite(
        z, raw * 0.01, colour, Quadrature("left", "relu", "finite", last_back=True), background=torch.ones(3)
    )
    torch.testing.assert_close(back.opacity, torch.ones(3))
    expected = plain.colour + (1 - plain.opacity)[:, None] * colour[:, -1]
    torch.testing.assert_close(back.colour, expected)


def test_density_outside_the_ball_counts_for_nothing() -> None:
    z, raw, colour = ray(7, 6)
    inside = torch.tensor([0.0, 1.0, 1.0, 0.0, 0.0, 0.0]).expand(3, 6)
    kept = composite(z, raw, colour, LEFT, inside=inside)
    zeroed = composite(z, torch.where(inside > 0, raw, -1e9), colour, LEFT)
    torch.testing.assert_close(kept.colour, zeroed.colour)


@pytest.mark.parametrize("key", ["rule", "activation", "last_interval"])
def test_unknown_quadrature_is_refused(key: str) -> None:
    with pytest.raises(ValueError, match=key):
        Quadrature(**{key: "other"})


# ------------------------------------------------------------------------------------------------- placement
@settings(deadline=None, max_examples=30)
@given(seed=seeds, samples=st.integers(2, 40))
def test_jittered_samples_stay_ascending_and_within_half_a_spacing(seed: int, samples: int) -> None:
    even = stratified(2.0, 3.0, samples, 5)
    moved = stratified(2.0, 3.0, samples, 5, torch.Generator().manual_seed(seed))
    spacing = 1 / (samples - 1)
    assert even[0, 0] == 2.0
    assert even[0, -1] == 3.0
    assert (moved - even).abs().max() <= spacing / 2 + 1e-6
    assert (moved.diff(dim=-1) > -1e-6).all()


@pytest.mark.parametrize(("near", "far", "samples"), [(1.0, 1.0, 4), (2.0, 1.0, 4), (0.0, 1.0, 1)])
def test_impossible_placement_is_refused(near: float, far: float, samples: int) -> None:
    with pytest.raises(ValueError, match="cannot place"):
        stratified(near, far, samples, 1)


@settings(deadline=None, max_examples=40)
@given(seed=seeds, coarse=st.integers(3, 30), fine=st.integers(1, 30), fixed=st.booleans())
def test_importance_samples_lie_within_the_bins(seed: int, coarse: int, fine: int, fixed: bool) -> None:
    z, raw, colour = ray(seed, coarse)
    weights = composite(z, raw, colour, LEFT).weights
    generator = None if fixed else torch.Generator().manual_seed(seed)
    drawn = importance(z, weights, fine, generator)
    edges = (z[:, 1:] + z[:, :-1]) / 2
    assert drawn.shape == (3, fine)
    assert (drawn >= edges[:, :1] - 1e-5).all()
    assert (drawn <= edges[:, -1:] + 1e-5).all()


def test_constant_weights_give_uniform_samples() -> None:
    z = torch.linspace(0, 1, 21)[None]
    n = 4000
    drawn = importance(z, torch.full((1, 21), 0.05), n, torch.Generator().manual_seed(1))[0].sort().values
    low, high = 0.025, 0.975
    distance = ((drawn - low) / (high - low) - torch.linspace(0, 1, n)).abs().max()
    assert distance < 1.95 / math.sqrt(n)  # Kolmogorov-Smirnov at about 0.001


def test_one_hot_weight_attracts_all_samples() -> None:
    z = torch.linspace(0, 1, 11)[None]
    weights = torch.zeros(1, 11)
    weights[0, 4] = 1.0
    drawn = importance(z, weights, 500, torch.Generator().manual_seed(0))[0]
    assert ((drawn > 0.35) & (drawn < 0.45)).float().mean() > 0.99


@settings(deadline=None, max_examples=30)
@given(seed=seeds, samples=st.integers(3, 20), fine=st.integers(1, 10))
def test_quantiles_drawn_before_give_the_same_samples(seed: int, samples: int, fine: int) -> None:
    z, raw, colour = ray(seed, samples)
    weights = composite(z, raw, colour, LEFT).weights
    drawn = importance(z, weights, fine, torch.Generator().manual_seed(seed))
    u = quantiles((3, fine), torch.Generator().manual_seed(seed), torch.device("cpu"))
    assert torch.equal(importance(z, weights, fine, u=u), drawn)
    # Rays do not share anything but their draw.
    alone = [importance(z[k : k + 1], weights[k : k + 1], fine, u=u[k : k + 1]) for k in range(3)]
    torch.testing.assert_close(torch.cat(alone), drawn)


def test_smoothed_weights_widen_a_spike() -> None:
    """Largest of two neighbours, mean of two, plus 0.01: a spike of 1 becomes 1/2, 1, 1/2."""
    weights = torch.tensor([[0.0, 0.0, 1.0, 0.0, 0.0, 0.0]])
    expected = torch.tensor([[0.0, 0.5, 1.0, 0.5, 0.0, 0.0]]) + 0.01
    torch.testing.assert_close(smoothed(weights), expected)


@settings(deadline=None, max_examples=30)
@given(seed=seeds, samples=st.integers(3, 30))
def test_smoothed_weights_are_bounded_by_their_neighbourhood(seed: int, samples: int) -> None:
    weights = draw(seed, 3, samples)
    smooth = smoothed(weights)
    assert smooth.shape == weights.shape
    assert (smooth >= weights).all()
    assert (smooth <= weights.amax(-1, keepdim=True) + 0.01 + 1e-6).all()
    torch.testing.assert_close(smoothed(torch.full((2, 7), 0.3)), torch.full((2, 7), 0.31))
    torch.testing.assert_close(smoothed(weights.flip(-1)), smooth.flip(-1))


def test_no_gradient_flows_through_importance_positions() -> None:
    z = torch.linspace(0, 1, 8)[None]
    weights = torch.rand(1, 8, requires_grad=True)
    assert not importance(z, weights, 4).requires_grad


def test_too_few_coarse_samples_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 3"):
        importance(torch.zeros(1, 2), torch.zeros(1, 2), 4)


@settings(deadline=None, max_examples=30)
@given(seed=seeds, a=st.integers(2, 12), b=st.integers(1, 12))
def test_merge_sorts_and_keeps_values_with_their_depths(seed: int, a: int, b: int) -> None:
    first, second = draw(seed, 2, a), draw(seed + 1, 2, b)
    colour = lambda z: torch.stack((z, 2 * z, -z), -1)  # noqa: E731
    z, raw, rgb = merge((first, second), ((first * 3, second * 3), (colour(first), colour(second))))
    assert (z.diff(dim=-1) >= 0).all()
    torch.testing.assert_close(raw, z * 3)
    torch.testing.assert_close(rgb, colour(z))


def hierarchy_against_uniform(density: float, edge: float) -> tuple[float, float]:
    """Mean squared colour error of 24 + 24 hierarchical and of 48 uniform samples against 3000, on 200 half-spaces."""
    surface = 1.3 + 0.5 * torch.rand(200, 1, generator=torch.Generator().manual_seed(0))

    def render(z: Tensor) -> tuple[Tensor, Tensor]:
        raw = density * torch.sigmoid((z - surface) / edge)
        colour = torch.stack((torch.sin(9 * z), torch.cos(9 * z), z), -1) * 0.5 + 0.5
        out = composite(z, raw, colour, LEFT)
        return out.colour, out.weights

    dense = render(stratified(1.0, 2.0, 3000, 200))[0]
    errors = []
    for seed in range(5):
        rng = torch.Generator().manual_seed(seed)
        uniform = render(stratified(1.0, 2.0, 48, 200, rng))[0]
        z = stratified(1.0, 2.0, 24, 200, rng)
        both = torch.cat((z, importance(z, render(z)[1], 24, rng)), -1).sort(-1).values
        errors.append(torch.stack(((render(both)[0] - dense).square().mean(), (uniform - dense).square().mean())))
    hierarchical, plain = torch.stack(errors).mean(0).tolist()
    return hierarchical, plain


def test_hierarchical_sampling_wins_on_opaque_surfaces() -> None:
    hierarchical, uniform = hierarchy_against_uniform(density=300, edge=0.002)
    assert hierarchical < 0.7 * uniform


def test_hierarchical_sampling_does_not_pay_in_soft_media() -> None:
    """The other side of claim N3: where absorption spreads over many samples, even spacing integrates better."""
    hierarchical, uniform = hierarchy_against_uniform(density=10, edge=0.05)
    assert hierarchical > uniform
