"""Properties of the relief metrics, from their cards and their own."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.metrics import relief
from harness.metrics.relief import concave_share, depth_std_ratio, opacity_soft, relief_correlation, relief_ratio
from tests.properties.card_properties import Pair, Subject, properties_of

FEW = settings(deadline=None, max_examples=25)
CARDS = {card.name: card for card in relief.CARDS}
seeds = st.integers(0, 2**32 - 1)


@st.composite
def depths(draw: st.DrawFn) -> Pair:
    """Bumpy depth maps; now and then the predicted ones are flat."""
    rng = np.random.default_rng(draw(seeds))
    size = draw(st.integers(1, 4)), draw(st.integers(3, 6)), draw(st.integers(3, 6))
    preds, target = (rng.uniform(0.5, 2.0, size).astype(np.float32).astype(np.float64) for _ in range(2))
    if draw(st.integers(0, 4)) == 0:
        preds[:] = 1.0
    return preds, target


TestStdRatio = properties_of(Subject(CARDS["std_ratio"], depth_std_ratio, depths()))
TestReliefRatio = properties_of(Subject(CARDS["relief_ratio"], relief_ratio, depths()))
TestReliefCorr = properties_of(Subject(CARDS["relief_corr"], relief_correlation, depths()))
TestConcave = properties_of(Subject(CARDS["concave"], concave_share, depths()))


def plane(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Depth [H,W] of a plane in space before a pinhole camera: its reciprocal is linear in the pixels."""
    height, width = shape
    y, x = np.meshgrid(np.linspace(-1, 1, height), np.linspace(-1, 1, width), indexing="ij")
    a, b = rng.uniform(-0.2, 0.2, 2)
    return 1 / (rng.uniform(0.5, 2) + a * x + b * y)


@FEW
@given(depths(), seeds)
def test_planes_have_no_relief(pair: Pair, seed: int) -> None:
    rng, target = np.random.default_rng(seed), pair[1]
    card = np.stack([plane(rng, target.shape[1:]) for _ in target])
    assert relief_correlation(card, target) == relief_ratio(card, target) == concave_share(card, target) == 0.0
    assert np.isnan(relief_correlation(target, card))


@FEW
@given(depths(), seeds)
def test_what_lies_outside_the_mask_does_not_matter(pair: Pair, seed: int) -> None:
    rng = np.random.default_rng(seed)
    preds, target = pair
    mask = rng.random(preds.shape) < 0.8
    mask[0] = True
    other = np.where(mask, preds, rng.uniform(-5, 5, preds.shape))
    for metric in (depth_std_ratio, relief_ratio, relief_correlation):
        one, two = (metric(p, target, mask=mask, reduction="none") for p in (preds, other))
        np.testing.assert_allclose(one, two, rtol=1e-9)
    assert concave_share(preds, target, mask=mask) == concave_share(other, target, mask=mask)


@FEW
@given(depths())
def test_share_of_soft_rays_is_a_mean_over_pictures(pair: Pair) -> None:
    opacity = pair[0] / 2
    low, high = CARDS["opacity_soft"].range
    values = opacity_soft(opacity, reduction="none")
    assert low <= values.min() <= values.max() <= high
    np.testing.assert_allclose(opacity_soft(opacity), values.mean())
    np.testing.assert_array_equal(opacity_soft(opacity[::-1], reduction="none"), values[::-1])
