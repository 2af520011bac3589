"""Card-driven and own properties of the metrics of pairs: images, depth maps, normals, poses."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import ModuleType

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.metrics import depth, perceptual, pose
from harness.metrics.card import MetricCard
from tests.properties.card_properties import Metric, Pair, Subject, properties_of

MODEST = settings(deadline=None, max_examples=25)
UNIT, WIDE = (0.0, 1.0), (-100.0, 100.0)
seeds = st.integers(0, 2**32 - 1)


def card(module: ModuleType, name: str) -> MetricCard:
    return next(c for c in module.CARDS if c.name == name)


def single(values: np.ndarray) -> np.ndarray:
    """float64 values that float32 holds exactly."""
    return values.astype(np.float32).astype(np.float64)


@st.composite
def images(draw: st.DrawFn, side: tuple[int, int] = (1, 8)) -> Pair:
    """Noise, flat or two-valued images within [0, 1]."""
    n, h, w = draw(st.integers(1, 4)), draw(st.integers(*side)), draw(st.integers(max(2, side[0]), side[1]))
    rng = np.random.default_rng(draw(seeds))
    kinds: list[Callable[[], np.ndarray]] = [
        lambda: single(rng.random((n, 3, h, w))),
        lambda: np.full((n, 3, h, w), 0.25 * rng.integers(0, 5)),
        lambda: rng.integers(0, 2, (n, 3, h, w)).astype(np.float64),
    ]
    return draw(st.sampled_from(kinds))(), draw(st.sampled_from(kinds))()


@st.composite
def depths(draw: st.DrawFn, lattice: bool = True) -> Pair:
    n, h, w = draw(st.integers(1, 4)), draw(st.integers(1, 5)), draw(st.integers(3, 5))
    rng = np.random.default_rng(draw(seeds))
    if lattice and draw(st.booleans()):
        return tuple(rng.choice([0.5, 1.0, 2.0, 4.0], (n, h, w)) for _ in range(2))  # type: ignore[return-value]
    return single(1 + rng.random((n, h, w))), single(1 + 3 * rng.random((n, h, w)))


@st.composite
def normals(draw: st.DrawFn) -> Pair:
    n, h, w = draw(st.integers(1, 4)), draw(st.integers(1, 5)), draw(st.integers(1, 5))
    rng = np.random.default_rng(draw(seeds))
    sides = [rng.standard_normal((n, h, w, 3)) for _ in range(2)]
    return tuple(s / np.linalg.norm(s, axis=-1, keepdims=True) for s in sides)  # type: ignore[return-value]


@st.composite
def angles(draw: st.DrawFn, shape: tuple[int, ...] = (), minimum: int = 2) -> Pair:
    n = draw(st.integers(minimum, 12))
    rng = np.random.default_rng(draw(seeds))
    return tuple(single(rng.uniform(-math.pi, math.pi, (n, *shape))) for _ in range(2))  # type: ignore[return-value]


class ThreeChannels:
    """A layered space without weights files: the image and its horizontal differences."""

    def layers(self, x: torch.Tensor) -> list[tuple[torch.Tensor, torch.Tensor]]:
        return [(x, torch.ones(3)), (x.diff(dim=-1), torch.full((3,), 0.5))]


# --------------------------------------------------------------------------------------------- from the cards
def _image(name: str, metric: Metric, **options: object) -> Subject:
    return Subject(card(perceptual, name), metric, images(**options), paired=True)  # type: ignore[arg-type]


def _feature_distance(x: np.ndarray, y: np.ndarray) -> float:
    return float(perceptual.feature_distance(x, y, space=ThreeChannels(), value_range=UNIT))


TestMse = properties_of(_image("mse", lambda x, y: perceptual.mean_squared_error(x, y, value_range=WIDE)))
TestPsnr = properties_of(_image("psnr", lambda x, y: perceptual.peak_signal_noise_ratio(x, y, value_range=WIDE)))
TestSsim = properties_of(
    _image("ssim", lambda x, y: perceptual.structural_similarity(x, y, value_range=UNIT), side=(11, 13))
)
TestSsimOfSevenTaps = properties_of(
    _image("ssim", lambda x, y: perceptual.structural_similarity(x, y, value_range=UNIT, window=7), side=(7, 9))
)
TestFeatureDistance = properties_of(_image("featdist", _feature_distance))


def _benchmark(name: str) -> Subject:
    return Subject(card(depth, name), lambda x, y: depth.depth_errors(x, y, align="none")[name], depths(), paired=True)


TestSide = properties_of(Subject(card(depth, "side"), depth.scale_invariant_depth_error, depths(), paired=True))
TestStandardised = properties_of(
    Subject(card(depth, "depth_mse_std"), depth.standardised_depth_error, depths(lattice=False), paired=True)
)
TestMad = properties_of(
    Subject(
        card(depth, "mad"),
        lambda x, y: depth.mean_angle_deviation(x, y, erode=0),
        normals(),
        exact=1e-6,  # arctangent of the round-off of a cross product, in degrees
        paired=True,
    )
)
TestAbsRel = properties_of(_benchmark("abs_rel"))
TestRmse = properties_of(_benchmark("rmse"))
TestRmseLog = properties_of(_benchmark("rmse_log"))
TestDelta1 = properties_of(_benchmark("delta1"))
TestDelta3 = properties_of(_benchmark("delta3"))


def _correlation(name: str, attribute: str) -> Subject:
    """One latent: requests are the prediction, estimates the truth."""

    def metric(x: np.ndarray, y: np.ndarray) -> float:
        return getattr(pose.pose_correlation(x, y[None]), attribute)

    return Subject(card(pose, name), metric, angles(), paired=True)


TestPoseCorrelation = properties_of(_correlation("pose_corr", "correlation"))
TestPoseRankCorrelation = properties_of(_correlation("pose_rank_corr", "rank_correlation"))
TestPoseSlope = properties_of(_correlation("pose_slope", "slope"))
TestPoseResultant = properties_of(
    Subject(card(pose, "pose_resultant"), lambda x, y: pose.pose_control(x, y)["resultant"], angles(), paired=True)
)
TestPoseMae = properties_of(
    Subject(card(pose, "pose_mae"), lambda x, y: pose.pose_control(x, y)["mae_deg"], angles(), exact=1e-7, paired=True)
)
TestPoseMse = properties_of(
    Subject(card(pose, "pose_mse"), lambda x, y: pose.pose_error(x, y)["mse"], angles(shape=(3,)), paired=True)
)
TestPoseGeodesic = properties_of(
    Subject(
        card(pose, "pose_geodesic"),
        lambda x, y: pose.pose_error(x, y)["geodesic_deg"],
        angles(shape=(3,)),
        exact=1e-6,
        paired=True,
    )
)


# -------------------------------------------------------------------------------------------------- their own
@MODEST
@given(images(side=(11, 14)), st.floats(0.1, 50), st.floats(-5, 5))
def test_ssim_follows_the_value_range(pair: Pair, gain: float, offset: float) -> None:
    """Scaling both images with L changes nothing; the range may lie anywhere."""
    base = perceptual.structural_similarity(*pair, value_range=UNIT)
    moved = perceptual.structural_similarity(*(gain * x for x in pair), value_range=(0.0, gain))
    assert math.isclose(base, moved, abs_tol=1e-9)


@MODEST
@given(images(side=(11, 14)))
def test_ssim_of_transposed_images_is_the_same(pair: Pair) -> None:
    turned = [np.ascontiguousarray(x.swapaxes(2, 3)) for x in pair]
    base = perceptual.structural_similarity(*pair, value_range=UNIT)
    assert math.isclose(base, perceptual.structural_similarity(*turned, value_range=UNIT), abs_tol=1e-12)


@MODEST
@given(depths(), st.integers(0, 2**32 - 1))
def test_masked_pixels_never_matter(pair: Pair, seed: int) -> None:
    rng = np.random.default_rng(seed)
    mask = rng.random(pair[0].shape) < 0.7
    mask[:, 0, :2] = True
    other = np.where(mask, pair[0], rng.uniform(-5, 5, mask.shape))
    for metric in (depth.scale_invariant_depth_error, depth.standardised_depth_error):
        np.testing.assert_equal(metric(other, pair[1], mask=mask), metric(pair[0], pair[1], mask=mask))
    for align in depth.ALIGNMENTS:
        one, two = (depth.depth_errors(p, pair[1], mask=mask, align=align) for p in (other, pair[0]))
        np.testing.assert_equal(one, two)


@MODEST
@given(depths())
def test_side_is_the_log_error_left_after_the_best_scale(pair: Pair) -> None:
    p, t = pair
    delta = (np.log(p) - np.log(t)).reshape(len(p), -1)
    np.testing.assert_allclose(
        depth.scale_invariant_depth_error(p, t, reduction="none"), delta.std(1), atol=1e-12, rtol=0
    )


@MODEST
@given(depths(lattice=False), st.floats(-9, -0.1))
def test_a_negative_factor_turns_the_correlation_around(pair: Pair, factor: float) -> None:
    p, t = pair
    one = depth.standardised_depth_error(p, t, reduction="none")
    np.testing.assert_allclose(4 - one, depth.standardised_depth_error(factor * p, t, reduction="none"), atol=1e-9)


@MODEST
@given(depths(), st.sampled_from(("median", "scale")), st.floats(0.1, 10))
def test_aligned_errors_ignore_the_scale_of_the_prediction(pair: Pair, align: depth.Alignment, factor: float) -> None:
    one, two = (depth.depth_errors(p, pair[1], align=align)["rmse"] for p in (pair[0], factor * pair[0]))
    assert math.isclose(one, two, abs_tol=1e-9)


@MODEST
@given(depths())
def test_more_freedom_in_the_fit_never_hurts(pair: Pair) -> None:
    none, scale, affine = (depth.depth_errors(*pair, align=a)["rmse"] for a in ("none", "scale", "affine"))
    for p, t in zip(*pair, strict=True):  # least squares per image
        errors = [depth.depth_errors(p[None], t[None], align=a)["rmse"] for a in ("none", "scale", "affine")]
        assert errors[2] <= errors[1] + 1e-9 <= errors[0] + 2e-9
    assert affine <= scale + 1e-9 <= none + 2e-9


@MODEST
@given(st.integers(2, 8), st.integers(2, 8), seeds)
def test_eta_squared_bounds_the_squared_correlation(k: int, p: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    requested = np.linspace(-1, 1, p)
    scores = pose.pose_correlation(requested, rng.standard_normal((k, p)) + rng.standard_normal() * requested)
    assert scores.pearson**2 - 1e-12 <= scores.eta_squared <= 1 + 1e-12
    assert scores.spread_deg >= 0
    mirrored = pose.pose_correlation(-requested, rng.permutation(np.arange(k * p, dtype=float)).reshape(k, p))
    assert 0 <= mirrored.rank_correlation <= 1


@MODEST
@given(st.integers(2, 10), st.integers(1, 6), seeds, st.floats(0.1, 9))
def test_identity_similarity_is_bounded_and_ignores_length(n: int, d: int, seed: int, factor: float) -> None:
    rng = np.random.default_rng(seed)
    embeddings, labels = rng.standard_normal((n, d)), rng.integers(0, 3, n)
    scores = pose.identity_similarity(embeddings, labels)
    order = rng.permutation(n)
    again = pose.identity_similarity(factor * embeddings[order], 7 - labels[order])
    for name, (low, high) in {"same": (-1, 1), "different": (-1, 1), "gap": (-2, 2)}.items():
        assert math.isnan(scores[name]) or low - 1e-12 <= scores[name] <= high + 1e-12
        np.testing.assert_allclose(again[name], scores[name], atol=1e-9)


@MODEST
@given(st.integers(2, 6), st.integers(2, 6), seeds, st.floats(-9, 9).filter(lambda g: abs(g) > 0.1))
def test_identity_variance_ratio_ignores_units(k: int, p: int, seed: int, gain: float) -> None:
    attributes = np.random.default_rng(seed).standard_normal((k, p, 3))
    value = pose.identity_variance_ratio(attributes)
    assert value >= 0
    np.testing.assert_allclose(pose.identity_variance_ratio(gain * attributes + 1), value, rtol=1e-9)
