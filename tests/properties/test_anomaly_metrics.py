"""Exactness, invariances and monotonicity of the anomaly metrics."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import reduce
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.metrics import anomaly
from harness.metrics.anomaly import ScoreCurve, ScoreHistogram
from harness.metrics.anomaly_histogram import quantile_edges
from harness.metrics.guide_table import GuideTable
from tests.anomaly_references import LIMITS, by_sorting, by_thresholds, tied_maps
from tests.properties.card_properties import Pair, Subject, properties_of

MODEST = settings(deadline=None, max_examples=60)
seeds = st.integers(0, 2**32 - 1)
Values = dict[str, float]


def maps(seed: int) -> tuple[np.random.Generator, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng, *tied_maps(rng)


def score(scores: np.ndarray, masks: np.ndarray) -> Values:
    return anomaly.pixel_scores(scores, masks, fpr_limits=LIMITS)


def assert_same(one: Values, two: Values, within: float = 1e-12) -> None:
    assert one == pytest.approx(two, abs=within, nan_ok=True)


# ------------------------------------------------------------------------------------------------ definitions
@settings(deadline=None, max_examples=2000)
@given(seeds)
def test_equals_sorting_and_accumulating(seed: int) -> None:
    _, scores, masks = maps(seed)
    assert_same(score(scores, masks), by_sorting(scores, masks), 1e-9)


@settings(deadline=None, max_examples=120)
@given(seeds)
def test_equals_the_definition_over_all_thresholds(seed: int) -> None:
    _, scores, masks = maps(seed)
    found = score(scores, masks)
    assert_same(found, by_thresholds(scores, masks), 1e-9)
    for limit in LIMITS:
        value, per_region = anomaly.per_region_overlap_auc(scores, masks, fpr_limit=limit)
        assert value == pytest.approx(found[f"aupro[limit={limit:g}]"], abs=1e-12)
        assert value == pytest.approx(per_region.mean(), abs=1e-12)
        partial = anomaly.roc_auc_score(scores.ravel(), masks.ravel(), max_fpr=limit)
        assert partial == pytest.approx(anomaly.rank_pixels(scores, masks).pixels.auroc(limit), abs=1e-12)


@MODEST
@given(seeds)
def test_limited_ranks_of_many_scores(seed: int) -> None:
    """Enough pixels that only part of them is looked at, with and without ties at the cut."""
    rng = np.random.default_rng(seed)
    scores = rng.standard_cauchy((2, 40, 40)) if rng.random() < 0.5 else rng.poisson(3, (2, 40, 40))
    masks = rng.random(scores.shape) < rng.choice([0.01, 0.2])
    masks[0, 0, :2] = (True, False)
    scores = (scores + masks * rng.integers(0, 4)).astype("f4")
    whole = score(scores, masks)
    for limit in LIMITS:
        value, _ = anomaly.per_region_overlap_auc(scores, masks, fpr_limit=limit)
        assert value == pytest.approx(whole[f"aupro[limit={limit:g}]"], abs=1e-12)


DRAWS: tuple[Callable[[np.random.Generator, int], np.ndarray], ...] = (
    lambda rng, n: rng.integers(-3, 4, n) * rng.choice([1.0, 0.1]),
    lambda rng, n: rng.standard_cauchy(n),
    lambda rng, n: 1000 + rng.random(n),
    lambda rng, n: np.where(rng.random(n) < 0.1, 0.0, 1000 + rng.random(n)),
    lambda rng, n: rng.choice([0.0, -0.0, 1e-40, 3e38, -3e38, 1.0, 2.0], n),
    lambda rng, n: np.exp(20 * rng.standard_normal(n)).clip(0, 1e38),
)


@settings(deadline=None, max_examples=300)
@given(seeds, st.sampled_from(DRAWS), st.sampled_from(["f4", "f8"]))
def test_a_guide_table_searches_like_a_sort(seed: int, draw: Callable[..., np.ndarray], dtype: str) -> None:
    rng = np.random.default_rng(seed)
    reference = np.unique(draw(rng, rng.integers(1, 200)).astype(dtype))
    values = np.append(draw(rng, rng.integers(0, 200)).astype(dtype), rng.choice(reference, 20))
    place, tied = GuideTable(reference).locate(values)
    np.testing.assert_array_equal(place, np.searchsorted(reference, values))
    np.testing.assert_array_equal(tied, np.isin(values, reference))
    above, equal = GuideTable(reference).count(values)
    np.testing.assert_array_equal(above, (values > reference[:, None]).sum(1))
    np.testing.assert_array_equal(equal, (values == reference[:, None]).sum(1))


# ------------------------------------------------------------------------------------------------ invariances
@MODEST
@given(seeds)
def test_increasing_maps_and_orders_change_nothing(seed: int) -> None:
    rng, scores, masks = maps(seed)
    base = score(scores, masks)
    wide = scores.astype("f8")
    ranks = np.searchsorted(np.unique(scores), scores).astype("f4")
    for same in (np.exp(wide), 3 * wide - 7, ranks, np.cbrt(wide)):
        assert_same(score(same, masks), base)
    order = rng.permutation(len(scores))
    assert_same(score(scores[order], masks[order]), base)
    for turn in (np.flipud, np.fliplr, np.rot90):
        moved = [np.ascontiguousarray(np.moveaxis(turn(np.moveaxis(a, 0, -1)), -1, 0)) for a in (scores, masks)]
        assert_same(score(*moved), base)
    assert_same(score(np.tile(scores, (2, 1, 1)), np.tile(masks, (2, 1, 1))), base)


@MODEST
@given(seeds)
def test_the_opposite_detector_and_the_limits(seed: int) -> None:
    _, scores, masks = maps(seed)
    one, two = (anomaly.roc_auc_score(s.ravel(), masks.ravel()) for s in (scores, -scores))
    assert one + two == pytest.approx(1, abs=1e-12)
    ranked = anomaly.rank_pixels(scores, masks)
    limits = np.linspace(0.05, 1, 20)
    areas = [limit * ranked.overlap_auc(limit) for limit in limits]
    assert np.all(np.diff(areas) >= -1e-12)
    assert all(-1e-12 <= area <= limit + 1e-12 for area, limit in zip(areas, limits, strict=True))


@MODEST
@given(seeds)
def test_equal_regions_make_aupro_the_auroc(seed: int) -> None:
    rng = np.random.default_rng(seed)
    masks = np.zeros((4, 6, 6), bool)
    side = int(rng.integers(1, 4))
    for mask in masks[: rng.integers(1, 5)]:
        y, x = rng.integers(0, 7 - side, 2)
        mask[y : y + side, x : x + side] = True
    scores = rng.integers(0, 5, masks.shape).astype("f4")
    ranked = anomaly.rank_pixels(scores, masks)
    assert ranked.overlap_auc(1.0) == pytest.approx(ranked.pixels.auroc(), abs=1e-12)


@MODEST
@given(seeds)
def test_raising_a_score_moves_the_metrics_the_right_way(seed: int) -> None:
    rng, scores, masks = maps(seed)
    base = score(scores, masks)
    better, worse = scores.copy(), scores.copy()
    by = int(rng.integers(1, 4))
    better.flat[rng.choice(np.flatnonzero(masks))] += by
    worse.flat[rng.choice(np.flatnonzero(~masks))] += by
    for name, value in score(better, masks).items():
        if name != "pixel_ap":  # with ties average precision may fall
            assert value >= base[name] - 1e-12, name
    for name, value in score(worse, masks).items():
        if name not in ("pixel_ap", "pixel_f1_max"):
            assert value <= base[name] + 1e-12, name


@MODEST
@given(seeds)
def test_without_ties_raising_an_anomalous_score_never_lowers_average_precision(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores, labels = rng.permutation(20).astype("f8"), rng.permutation(20) < rng.integers(1, 19)
    better = scores.copy()
    better[rng.choice(np.flatnonzero(labels))] += rng.integers(1, 8) + 0.5
    assert anomaly.average_precision_score(better, labels) >= anomaly.average_precision_score(scores, labels) - 1e-12


@MODEST
@given(seeds)
def test_a_good_image_below_all_others_never_hurts(seed: int) -> None:
    _, scores, masks = maps(seed)
    more = np.concatenate([scores, np.full_like(scores[:1], scores.min() - 1)])
    grown = score(more, np.concatenate([masks, np.zeros_like(masks[:1])]))
    base = score(scores, masks)
    assert all(grown[name] >= base[name] - 1e-12 for name in base if name.startswith(("aupro", "pixel_auroc")))


@MODEST
@given(seeds)
def test_breakdowns_are_evaluations_of_the_regions_chosen(seed: int) -> None:
    """Keeping some regions equals masking the others out of the data altogether."""
    rng, scores, masks = maps(seed)
    labels, count = anomaly.label_regions(masks)
    keep = rng.random(count) < 0.5
    keep[rng.integers(count)] = True
    part = anomaly.rank_pixels(scores, masks).select(keep)
    ignored = masks & ~np.append(False, keep)[labels]
    chosen, truth = scores[~ignored], masks[~ignored]
    assert part.pixels.auroc() == pytest.approx(anomaly.roc_auc_score(chosen, truth), abs=1e-12)
    assert part.pixels.average_precision() == pytest.approx(anomaly.average_precision_score(chosen, truth), abs=1e-12)
    per_region = anomaly.per_region_overlap_auc(scores, masks)[1]
    np.testing.assert_allclose(part.overlap_areas(0.3), per_region[keep], atol=1e-12)
    for region, (size, image) in enumerate(zip(part.sizes, part.images, strict=True)):
        where = labels == np.flatnonzero(keep)[region] + 1
        assert size == where.sum()
        assert image == np.argwhere(where)[0, 0]


# -------------------------------------------------------------------------------------------------- streaming
@MODEST
@given(seeds)
def test_batches_and_bounded_memory_change_nothing(seed: int) -> None:
    rng, scores, masks = maps(seed)
    whole = score(scores, masks)
    for n_normal in (None, int((~masks).sum())):
        curves = [ScoreCurve(fpr_limits=(0.3, 0.05), n_normal=n_normal) for _ in range(3)]
        for one, mask in zip(scores, masks, strict=True):
            curves[rng.integers(3)].update(one[None], mask[None])
        merged = curves[0].merge(curves[1]).merge(curves[2])
        restored = ScoreCurve(fpr_limits=(0.3, 0.05), n_normal=n_normal)
        restored.load_state_dict(merged.state_dict())
        for curve in (merged, restored):
            assert_same(curve.compute(), {name: whole[name] for name in curve.compute()})


@MODEST
@given(seeds)
def test_the_buffer_stays_small_and_exact(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.choice([rng.standard_normal((30, 8, 8)), rng.integers(0, 4, (30, 8, 8)), np.ones((30, 8, 8))])
    masks = rng.random(scores.shape) < 0.1
    curve = ScoreCurve(fpr_limits=(0.05,), n_normal=int((~masks).sum()))
    for start in range(0, 30, 3):
        curve.update(scores[start : start + 3], masks[start : start + 3])
        assert len(curve.state_dict()["normal"]) <= math.ceil(0.05 * curve.n_normal) + 1
    value, per_region = anomaly.per_region_overlap_auc(scores, masks, fpr_limit=0.05)
    assert curve.compute() == pytest.approx({"aupro[limit=0.05]": value}, abs=1e-12)
    np.testing.assert_allclose(curve.ranked().overlap_areas(0.05), per_region, atol=1e-12)


@MODEST
@given(seeds, st.sampled_from([2, 5, 20, 200]))
def test_a_histogram_is_within_its_bound_and_a_second_pass_is_exact(seed: int, bins: int) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.standard_normal((6, 6, 6)) if rng.random() < 0.5 else rng.integers(0, 9, (6, 6, 6))
    scores, masks = scores.astype("f4"), rng.random((6, 6, 6)) < 0.2
    masks[0, 0, :2] = (True, False)
    whole = score(scores, masks)
    edges = quantile_edges(scores, bins) if rng.random() < 0.5 else np.linspace(-2, 9, bins - 1, dtype="f4")
    parts = [ScoreHistogram(edges) for _ in range(2)]
    for one, mask in zip(scores, masks, strict=True):
        parts[rng.integers(2)].update(one[None], mask[None])
    histogram = parts[0].merge(parts[1])
    bound = histogram.bound()
    for name, value in histogram.compute().items():
        assert abs(value - whole[name]) <= bound[name] + 1e-12
    for tolerance in (0.0, 0.01):
        second = histogram.refine(tolerance)
        second.update(scores[:2], masks[:2])
        second.update(scores[2:], masks[2:])
        left = second.bound()
        for name, value in second.compute().items():
            assert left[name] <= tolerance + 1e-15
            assert abs(value - whole[name]) <= left[name] + 1e-12


def test_the_bound_falls_as_bins_refine() -> None:
    rng = np.random.default_rng(0)
    masks = np.zeros((20, 32, 32), bool)
    masks[::2, 4:10, 4:10] = True
    scores = rng.lognormal(size=masks.shape).astype("f4") * (1 + 3 * masks)
    bounds = []
    for bins in (4, 16, 64, 256, 4096):
        histogram = ScoreHistogram(quantile_edges(scores[~masks], bins))
        histogram.update(scores, masks)
        bounds.append(histogram.bound()["aupro[limit=0.3]"])
    assert all(fine < coarse / 2 for coarse, fine in pairwise(bounds))
    assert bounds[-1] < 1 / (2 * 0.3 * 4000)


# --------------------------------------------------------------------------------------------- from the cards
@st.composite
def labelled(draw: st.DrawFn) -> Pair:
    rng = np.random.default_rng(draw(seeds))
    scores = rng.integers(-4, 5, draw(st.integers(2, 12))).astype("f8")
    labels = rng.integers(0, 2, len(scores)).astype("f8")
    labels[:2] = (0, 1)
    return scores, labels


@st.composite
def masked(draw: st.DrawFn) -> Pair:
    scores, masks = tied_maps(np.random.default_rng(draw(seeds)))
    return scores.astype("f8"), masks.astype("f8")


def card_of(name: str, metric: Callable[..., float], pairs: st.SearchStrategy[Pair], **more: Any) -> type:
    card = next(card for card in anomaly.CARDS if card.name == name)
    skip = frozenset({"asymmetric"})  # truth is binary, so the two sides cannot change places
    return properties_of(Subject(card, metric, pairs, paired=True, exact=1e-12, skip=skip, **more))


def pixel(name: str, column: str = "") -> type:
    def merged(parts: Sequence[Pair]) -> float:
        curves = [ScoreCurve() for _ in parts]
        for curve, (scores, masks) in zip(curves, parts, strict=True):
            if len(scores):
                curve.update(scores, masks)
        return reduce(ScoreCurve.merge, curves).compute()[column or name]

    return card_of(name, lambda s, m: anomaly.pixel_scores(s, m)[column or name], masked(), merged=merged)


TestImageAuroc = card_of("image_auroc", anomaly.roc_auc_score, labelled())
TestImageAp = card_of("image_ap", anomaly.average_precision_score, labelled())
TestImageF1 = card_of("image_f1_max", lambda s, y: anomaly.f1_max(s, y)[0], labelled())
TestPixelAuroc = pixel("pixel_auroc")
TestPixelAp = pixel("pixel_ap")
TestPixelF1 = pixel("pixel_f1_max")
TestAupro = pixel("aupro", "aupro[limit=0.3]")
