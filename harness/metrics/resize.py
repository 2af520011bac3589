"""Resizing of 8-bit images to the input size of a feature network, under the protocols that published numbers use.

They differ by several FID points on reduction (Parmar et al. 2022), so the protocol is part of a column's name.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from harness.metrics.checks import Array, as_tensor, require_finite
from harness.metrics.errors import OutOfRange, ShapeMismatch, UnknownOption

ResizeProtocol = Literal["clean", "legacy", "legacy-torch", "none"]


def resize_images(images: Array, size: int, *, protocol: ResizeProtocol) -> Tensor:
    """Return uint8 images [N,3,H,W] as float32 [N,3,size,size] in [0,255], not rounded again.

    ``clean``: bicubic whose kernel widens on reduction, clipped (PIL's filter; clean-fid). ``legacy``: bilinear without
    antialiasing, source index = output index x scale (TensorFlow 1; torch-fidelity). ``legacy-torch``: the same with
    half-pixel centres (pytorch-fid). ``none``: the images must have the size already. Raises ShapeMismatch.
    """
    batch = uint8_images(images, metric="resize").float()
    if protocol not in get_args(ResizeProtocol):
        raise UnknownOption(f"unknown protocol {protocol!r}", where="resize", nearest=get_args(ResizeProtocol))
    if size < 1:
        raise OutOfRange(f"size = {size}, expected at least 1", where="resize")
    if batch.shape[2:] == (size, size):
        return batch
    if protocol == "none":
        raise ShapeMismatch(f"images are {tuple(batch.shape)}, protocol 'none' expects {size} x {size}", where="resize")
    if protocol == "clean":
        return F.interpolate(batch, (size, size), mode="bicubic", antialias=True, align_corners=False).clamp_(0, 255)
    if protocol == "legacy-torch":
        return F.interpolate(batch, (size, size), mode="bilinear", antialias=False, align_corners=False)
    return _corner_aligned(_corner_aligned(batch, size, 3), size, 2)


def _corner_aligned(batch: Tensor, size: int, axis: int) -> Tensor:
    """Interpolate one axis linearly at source index = output index x scale, in float32 as TensorFlow 1 does."""
    length = batch.shape[axis]
    at = torch.arange(size, dtype=torch.float32, device=batch.device) * (length / size)
    low = at.long()
    shape = [1, 1, 1, 1]
    shape[axis] = size
    a = batch.index_select(axis, low)
    b = batch.index_select(axis, (low + 1).clamp_max(length - 1))
    return a + (b - a) * (at - low).view(shape)


def to_uint8(images: Array, *, value_range: tuple[float, float]) -> Tensor:
    """Return float images [N,3,H,W] in ``value_range`` as uint8: x * 127.5 + 128 of [-1,1], floor, clip to 0..255.

    Values outside the range are clipped. Raises ShapeMismatch (not floating, not [N,3,H,W]), NonFinite, OutOfRange.
    """
    batch = as_tensor(images, "images", metric="to_uint8")
    low, high = value_range
    if not low < high:
        raise OutOfRange(f"value_range {value_range} is empty", where="to_uint8")
    if batch.ndim != 4 or batch.shape[1] != 3 or not batch.is_floating_point():
        raise ShapeMismatch(
            f"images are {batch.dtype} {tuple(batch.shape)}, expected float [N, 3, H, W]", where="to_uint8"
        )
    require_finite(batch, "images", metric="to_uint8")
    if batch.dtype != torch.float64:
        batch = batch.float()
    if (low, high) != (-1, 1):
        batch = (batch - low) * (2 / (high - low)) - 1
    return (batch * 127.5 + 128).floor_().clamp_(0, 255).to(torch.uint8)


def uint8_images(images: Array, *, metric: str) -> Tensor:
    """Return the images as a tensor; ShapeMismatch unless they are uint8 [N,3,H,W]."""
    batch = as_tensor(images, "images", metric=metric)
    if batch.ndim != 4 or batch.shape[1] != 3 or 0 in batch.shape[2:] or batch.dtype != torch.uint8:
        raise ShapeMismatch(f"images are {batch.dtype} {tuple(batch.shape)}, expected uint8 [N, 3, H, W]", where=metric)
    return batch
