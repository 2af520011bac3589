"""Structural similarity against scikit-image with the reference call's exact arguments."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.metrics.perceptual import mean_squared_error, peak_signal_noise_ratio, structural_similarity

metrics = pytest.importorskip("skimage.metrics")


def reference(x: np.ndarray, y: np.ndarray, span: float) -> np.ndarray:
    """scikit-image's value per image; its defaults (7 x 7 box, sample covariance) would be a third number."""
    how = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "channel_axis": 0}
    return np.array([metrics.structural_similarity(a, b, data_range=span, **how) for a, b in zip(x, y, strict=True)])


def pair(seed: int, n: int, channels: int, height: int, width: int, dtype: type) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.random((n, channels, height, width))
    y = np.clip(x + rng.choice([0.01, 0.3]) * rng.standard_normal(x.shape), 0, 1)
    return x.astype(dtype), y.astype(dtype)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 10**6), st.integers(1, 3), st.sampled_from((1, 3)), st.integers(11, 30), st.integers(11, 30))
def test_double_precision(seed, n, channels, height, width):
    x, y = pair(seed, n, channels, height, width, np.float64)
    ours = structural_similarity(x, y, value_range=(0, 1), reduction="none")
    np.testing.assert_allclose(ours, reference(x, y, 1.0), atol=1e-12, rtol=0)


@pytest.mark.parametrize("shape", [(2, 3, 256, 256), (5, 3, 32, 32)])
def test_single_precision(shape):
    x, y = pair(0, *shape, np.float32)
    ours = structural_similarity(x, y, value_range=(0, 1), reduction="none")
    np.testing.assert_allclose(ours, reference(x.astype(np.float64), y.astype(np.float64), 1.0), atol=1e-6, rtol=0)


@pytest.mark.parametrize("span", [(-1.0, 1.0), (0.0, 255.0), (-3.0, 0.5)])
def test_other_ranges(span):
    x, y = (span[0] + (span[1] - span[0]) * a for a in pair(1, 2, 3, 20, 17, np.float64))
    ours = structural_similarity(x, y, value_range=span, reduction="none")
    # The reference assumes nothing about where the range begins, and its luminance term uses the values as they are.
    np.testing.assert_allclose(ours, reference(x, y, span[1] - span[0]), atol=1e-11, rtol=0)


def test_eight_bits():
    x, y = (np.round(255 * a).astype(np.uint8) for a in pair(2, 2, 3, 24, 24, np.float64))
    ours = structural_similarity(x, y, reduction="none")
    np.testing.assert_allclose(ours, reference(x.astype(np.float64), y.astype(np.float64), 255.0), atol=1e-6, rtol=0)


@pytest.mark.parametrize("span", [1.0, 2.0])
def test_psnr_and_mse(span):
    x, y = (span * a for a in pair(3, 3, 3, 12, 12, np.float64))
    ours = peak_signal_noise_ratio(x, y, value_range=(0, span), reduction="none")
    theirs = [metrics.peak_signal_noise_ratio(b, a, data_range=span) for a, b in zip(x, y, strict=True)]
    np.testing.assert_allclose(ours, theirs, atol=1e-12, rtol=0)
    assert mean_squared_error(x, y, value_range=(0, span)) == pytest.approx(metrics.mean_squared_error(x, y), abs=1e-15)
