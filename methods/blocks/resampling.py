"""Filtered x2 resampling with the binomial filter [1,3,3,1] (Karras et al. 2020, appendix B) around convolutions."""

from __future__ import annotations

import functools

import torch
import torch.nn.functional as F
from torch import Tensor

_TAPS = (1.0, 3.0, 3.0, 1.0)


@functools.lru_cache(maxsize=256)
def _filter(maps: int, gain: float, device: torch.device, dtype: torch.dtype) -> Tensor:
    """The outer product of the taps, of sum ``gain``, once per map [maps,1,4,4]."""
    # The cached constant must be an ordinary tensor even where it is first needed under inference mode.
    with torch.inference_mode(False):
        taps = torch.tensor(_TAPS)
        kernel = torch.outer(taps, taps) * (gain / sum(_TAPS) ** 2)
        return kernel.to(device, dtype).expand(maps, 1, 4, 4).contiguous()


def filtered(x: Tensor, gain: float, padding: int, stride: int = 1) -> Tensor:
    """``x`` [N,C,H,W] zero-padded, convolved with the filter (its sum is ``gain``), every ``stride``-th sample kept."""
    kernel = _filter(x.shape[1], gain, x.device, x.dtype)
    y = F.conv2d(x, kernel, padding=padding, groups=x.shape[1])
    # Strided depthwise convolutions have a backward pass on CPUs that is tens of times slower than this.
    return y if stride == 1 else y[:, :, ::stride, ::stride].clone()


def upsample2(x: Tensor) -> Tensor:
    """Zero insertion and the filter with gain 4: [N,C,H,W] to [N,C,2H,2W], smooth images keep their values."""
    # The filter is that of bilinear interpolation; a ring of zeros stands for what is outside.
    large = F.interpolate(F.pad(x, (1, 1, 1, 1)), scale_factor=2, mode="bilinear", align_corners=False)
    return large[:, :, 2:-2, 2:-2]


def downsample2(x: Tensor) -> Tensor:
    """The filter, then every second sample: [N,C,2H,2W] to [N,C,H,W]."""
    return filtered(x, 1.0, 1, stride=2)


def fold_up(weight: Tensor) -> Tensor:
    """Kernel [Ci,Co,6,6] of the stride-2, padding-2 transposed convolution equal to ``conv_up`` with ``weight``.

    ``weight`` [Co,Ci,3,3]; only one kernel and no map of odd size, but four times the products.
    """
    return _full_convolution(weight, 4.0).transpose(0, 1)


def fold_down(weight: Tensor) -> Tensor:
    """Kernel [Co,Ci,6,6] of the stride-2, padding-2 convolution equal to ``conv_down`` with ``weight`` [Co,Ci,3,3]."""
    return _full_convolution(weight, 1.0)


def _full_convolution(weight: Tensor, gain: float) -> Tensor:
    kernels = weight.flatten(0, 1).unsqueeze(1)
    kernel = _filter(1, gain, weight.device, weight.dtype)
    return F.conv_transpose2d(kernels, kernel).view(*weight.shape[:2], 6, 6)


def conv_up(x: Tensor, weight: Tensor, *, folded: bool = False, groups: int = 1) -> Tensor:
    """Stride-2 transposed convolution with ``weight``, then the filter with gain 4: [N,Ci,H,W] to [N,Co,2H,2W].

    ``weight`` is [Co,Ci,3,3] in the layout of a plain convolution, unmirrored: seen from the upsampled map the kernel
    is mirrored, as in the published networks. With ``groups`` the weight is [groups Co,Ci,3,3].
    """
    if folded:
        return F.conv_transpose2d(x, _grouped(fold_up(weight), groups), stride=2, padding=2, groups=groups)
    return filtered(spread(x, weight, groups=groups), 4.0, 1)


def spread(x: Tensor, weight: Tensor, *, groups: int = 1) -> Tensor:
    """The first half of ``conv_up``: the transposed convolution before the filter, [N,Co,2H+1,2W+1]."""
    return F.conv_transpose2d(x, _grouped(weight.transpose(0, 1), groups), stride=2, groups=groups)


def _grouped(kernel: Tensor, groups: int) -> Tensor:
    """[Ci,groups Co,k,k] to torch's layout of grouped transposed convolutions [groups Ci,Co,k,k]."""
    if groups == 1:
        return kernel
    inputs, outputs, *size = kernel.shape
    split = kernel.reshape(inputs, groups, outputs // groups, *size)
    return split.transpose(0, 1).reshape(groups * inputs, outputs // groups, *size)


def conv_down(x: Tensor, weight: Tensor, bias: Tensor | None = None, *, folded: bool = False) -> Tensor:
    """The filter, then a stride-2 convolution with ``weight`` [Co,Ci,3,3]: [N,Ci,2H,2W] to [N,Co,H,W]."""
    if folded:
        return F.conv2d(x, fold_down(weight), bias, stride=2, padding=2)
    return F.conv2d(filtered(x, 1.0, 2), weight, bias, stride=2)
