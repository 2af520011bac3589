"""Image against image: squared error, PSNR, structural similarity, distance of deep features. Per image, then mean."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from harness.metrics.card import Invariance, MetricCard
from harness.metrics.checks import Array, as_tensor, require_finite
from harness.metrics.errors import EmptyInput, OutOfRange, ShapeMismatch, TooSmall, UnknownOption
from harness.metrics.samples import Reduction, bool_mask, in_blocks, masked_mean, reduced
from harness.metrics.ssim import ssim_per_channel

RANGE_SLACK = 1e-3  # of the range: smaller excess is clamped, larger raises
FEATURE_BATCH = 64

_SAME: frozenset[Invariance] = frozenset({"symmetric", "joint-permutation", "joint-flip", "shift"})
_FLIP: frozenset[Invariance] = frozenset({"symmetric", "joint-permutation", "joint-flip"})
_PAIR: frozenset[Invariance] = frozenset({"symmetric", "joint-permutation"})
_FLOOR, _ORACLE = "the mean training image", "the image after rounding to 8 bits"
CARDS: tuple[MetricCard, ...] = (
    MetricCard(
        "mse",
        unit="squared intensity",
        better="lower",
        range=(0.0, math.inf),
        protocol=("range", "mask"),
        invariances=_SAME,
        floor=_FLOOR,
        oracle=_ORACLE,
        identity=0.0,
    ),
    MetricCard(
        "psnr",
        unit="dB",
        better="higher",
        range=(-math.inf, math.inf),
        protocol=("mask", "psnr_cap"),
        invariances=_SAME,
        floor=_FLOOR,
        oracle=_ORACLE,
        identity=100.0,
    ),
    MetricCard(
        "ssim",
        unit="1",
        better="higher",
        range=(-1.0, 1.0),
        protocol=("sigma",),
        invariances=_FLIP,
        floor=_FLOOR,
        oracle=_ORACLE,
        identity=1.0,
    ),
    *(
        MetricCard(
            name,
            unit="1",
            better="lower",
            range=(0.0, math.inf),
            protocol=("n",),
            invariances=_PAIR,
            floor=_FLOOR,
            oracle=_ORACLE,
            identity=0.0,
        )
        for name in ("lpips", "featdist")
    ),
)


@runtime_checkable
class LayeredSpace(Protocol):
    """A feature space that shows its layers: ``layers`` maps float32 [N,3,H,W] in [-1,1] to pairs of a feature map
    [N,C,h,w] and its channel weights [C]."""

    def layers(self, images: Tensor) -> Sequence[tuple[Tensor, Tensor]]: ...


class VectorSpace(Protocol):
    """A feature space of one vector per image: uint8 [N,3,H,W] to float32 [N,d]."""

    def __call__(self, images: Array, /) -> Array: ...


def mean_squared_error(
    preds: Array,
    target: Array,
    *,
    value_range: tuple[float, float] | None = None,
    mask: Array | None = None,
    reduction: Reduction = "mean",
) -> float | np.ndarray:
    """Mean squared error per image over channels and pixels, in squared units of the images' own range.

    ``preds``, ``target``: float [N,C,H,W] within ``value_range``, or uint8, which needs none; ``mask`` bool [N,1,H,W]
    divides by the number of masked elements, an empty one makes a NaN sample. Values outside the range by up to 1e-3 of
    it are clamped (count them with ``count_out_of_range``). Raises OutOfRange, EmptyInput, ShapeMismatch, NonFinite.
    """
    return reduced(_squared_errors(preds, target, value_range, mask, "mse"), reduction, metric="mse")


def peak_signal_noise_ratio(
    preds: Array,
    target: Array,
    *,
    value_range: tuple[float, float] | None = None,
    mask: Array | None = None,
    cap: float = 100.0,
    reduction: Reduction = "mean",
) -> float | np.ndarray:
    """Peak signal-to-noise ratio 10 log10(L^2 / MSE) in dB per image, L the width of the range.

    Arguments as in ``mean_squared_error``. Equal images are inf with ``reduction="none"``; the mean counts every image
    with at most ``cap`` dB. Raises OutOfRange, EmptyInput, ShapeMismatch, NonFinite.
    """
    metric = "psnr"
    errors = _squared_errors(preds, target, value_range, mask, metric)
    low, high = _range_of(preds, value_range, metric)
    decibels = 10 * torch.log10((high - low) ** 2 / errors)
    return reduced(decibels.clamp_max(cap) if reduction == "mean" else decibels, reduction, metric=metric)


def structural_similarity(
    preds: Array,
    target: Array,
    *,
    value_range: tuple[float, float] | None = None,
    window: int = 11,
    sigma: float = 1.5,
    reduction: Reduction = "mean",
) -> float | np.ndarray:
    """Structural similarity (SSIM; Wang et al. 2004) per image: mean over the valid region, then over channels.

    Equals scikit-image with gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=L: Gaussian
    window, population variances, K1 = 0.01, K2 = 0.03. ``preds``, ``target``: float [N,C,H,W] within ``value_range``,
    or uint8. ``window`` odd; 7 is another column, ``ssim[w7]``. float64 images are filtered in float64, others in
    float32 (error near 1e-7). Raises TooSmall (a side below the window), UnknownOption (even window), OutOfRange,
    EmptyInput, ShapeMismatch, NonFinite.
    """
    metric = "ssim"
    if window < 1 or window % 2 == 0 or not sigma > 0:
        raise UnknownOption(f"window {window} and sigma {sigma}, expected an odd window and sigma > 0", where=metric)
    p, t = _image_pair(preds, target, value_range, metric)
    if min(p.shape[2:]) < window:
        raise TooSmall(f"images are {p.shape[2]} x {p.shape[3]}, the window is {window} x {window}", where=metric)
    low, high = _range_of(preds, value_range, metric)
    dtype = torch.float64 if torch.float64 in (p.dtype, t.dtype) else torch.float32
    p, t = p.to(dtype), t.to(dtype)
    values = ssim_per_channel(p.flatten(0, 1), t.flatten(0, 1), low=low, high=high, window=window, sigma=sigma)
    return reduced(values.reshape(p.shape[:2]).mean(1), reduction, metric=metric)


def feature_distance(
    preds: Array,
    target: Array,
    *,
    space: LayeredSpace | VectorSpace,
    value_range: tuple[float, float] | None = None,
    reduction: Reduction = "mean",
) -> float | np.ndarray:
    """Distance of unit-normalised deep features (the form of LPIPS, Zhang et al. 2018) per image.

    Sum over layers of the spatial mean of w . (f(x)/|f(x)| - f(y)/|f(y)|)^2. ``preds``, ``target``: float [N,3,H,W]
    within ``value_range``, or uint8. A ``space`` with layers brings its weights (LPIPS); any other feature space counts
    as one 1x1 layer with weights 1/d and receives images rounded to 8 bits. Zero for equal images, symmetric. Raises
    OutOfRange, EmptyInput, ShapeMismatch, NonFinite.
    """
    metric = "featdist"
    p, t = _image_pair(preds, target, value_range, metric)
    if p.shape[1] != 3:
        raise ShapeMismatch(f"preds is {tuple(p.shape)}, expected [N,3,H,W]", where=metric)
    low, high = _range_of(preds, value_range, metric)
    values = []
    with torch.no_grad():
        for pair in zip(p.split(FEATURE_BATCH), t.split(FEATURE_BATCH), strict=True):
            x, y = (_layers(space, (images.float() - low) / (high - low)) for images in pair)
            layers = [
                ((_unit(a) - _unit(b)).square() * w.to(a)[:, None, None]).sum(1).mean((1, 2)).double()
                for (a, w), (b, _) in zip(x, y, strict=True)
            ]
            values.append(torch.stack(layers).sum(0))
    return reduced(torch.cat(values), reduction, metric=metric)


def count_out_of_range(images: Array, *, value_range: tuple[float, float]) -> int:
    """How many values of ``images`` lie outside the range: what the metrics clamp, for the fingerprint."""
    values = as_tensor(images, "images", metric="count_out_of_range")
    return int(((values < value_range[0]) | (values > value_range[1])).sum())


def _layers(space: LayeredSpace | VectorSpace, unit: Tensor) -> Sequence[tuple[Tensor, Tensor]]:
    if isinstance(space, LayeredSpace):
        return space.layers(unit * 2 - 1)
    features = as_tensor(space((unit * 255).round().to(torch.uint8)), "features", metric="featdist")
    return [(features[:, :, None, None], features.new_full((features.shape[1],), 1 / features.shape[1]))]


def _unit(features: Tensor) -> Tensor:
    return features / (features.square().sum(1, keepdim=True).sqrt() + 1e-10)


def _squared_errors(
    preds: Array, target: Array, value_range: tuple[float, float] | None, mask: Array | None, metric: str
) -> Tensor:
    p, t = _image_pair(preds, target, value_range, metric)
    n, channels, height, width = p.shape
    if p.dtype == torch.uint8:
        p, t = p.float(), t.float()
    if mask is None:
        return in_blocks(lambda a, b: (a - b).square().flatten(1).mean(1), p, t)
    m = bool_mask(mask, (n, 1, height, width), p.device, metric=metric)
    return in_blocks(lambda a, b, k: masked_mean((a - b).square(), k.expand(-1, channels, -1, -1)), p, t, m)


def _image_pair(
    preds: Array, target: Array, value_range: tuple[float, float] | None, metric: str
) -> tuple[Tensor, Tensor]:
    low, high = _range_of(preds, value_range, metric)
    checked = []
    for name, value in (("preds", preds), ("target", target)):
        images = as_tensor(value, name, metric=metric)
        if images.ndim != 4 or not (images.is_floating_point() or images.dtype == torch.uint8):
            raise ShapeMismatch(
                f"{name} is {images.dtype} {tuple(images.shape)}, expected float or uint8 [N,C,H,W]", where=metric
            )
        if images.numel() == 0:
            raise EmptyInput(f"{name} is empty: {tuple(images.shape)}", where=metric)
        checked.append(_clamped(images, name, low, high, metric))
    p, t = checked[0], checked[1].to(checked[0].device)
    if p.shape != t.shape or (p.dtype == torch.uint8) != (t.dtype == torch.uint8):
        raise ShapeMismatch(f"preds is {p.dtype} {tuple(p.shape)}, target is {t.dtype} {tuple(t.shape)}", where=metric)
    return p, t


def _clamped(images: Tensor, name: str, low: float, high: float, metric: str) -> Tensor:
    if images.dtype == torch.uint8:
        return images
    bounds = torch.aminmax(images)  # NaN and infinity come through: one pass serves both checks
    least, most = float(bounds.min), float(bounds.max)
    if not (math.isfinite(least) and math.isfinite(most)):
        require_finite(images, name, metric=metric)
    slack = RANGE_SLACK * (high - low)
    if least < low - slack or most > high + slack:
        raise OutOfRange(
            f"{name} spans [{least:g}, {most:g}], expected [{low:g}, {high:g}]",
            where=metric,
            remedy="State the images' own value_range.",
        )
    return images if low <= least and most <= high else images.clamp(low, high)


def _range_of(images: Array, value_range: tuple[float, float] | None, metric: str) -> tuple[float, float]:
    if getattr(images, "dtype", None) in (torch.uint8, np.uint8):
        if value_range not in (None, (0, 255)):
            raise OutOfRange(f"value_range is {value_range}, uint8 images have (0, 255)", where=metric)
        return 0.0, 255.0
    if value_range is None:
        raise UnknownOption("value_range is missing: it is never guessed from float images", where=metric)
    low, high = value_range
    if not low < high:
        raise OutOfRange(f"value_range {value_range} is empty", where=metric)
    return float(low), float(high)
