"""Modulated and demodulated convolution (Karras et al. 2020, section 2.2) in its two equal forms."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from methods.blocks.resampling import conv_up, filtered, spread
from methods.blocks.style_options import Modulation

_EPSILON = 1e-8


def demodulation(weight: Tensor, styles: Tensor) -> Tensor:
    """``rsqrt(sum_{i,k} (s_{n,i} W_{o,i,k})^2 + 1e-8)`` [N,Co] in fp32: ``weight`` [Co,Ci,k,k], ``styles`` [N,Ci]."""
    with torch.autocast(styles.device.type, enabled=False):
        energy = weight.float().square().sum((2, 3))
        return (styles.float().square() @ energy.t() + _EPSILON).rsqrt()


def modulated_conv(
    x: Tensor,
    weight: Tensor,
    styles: Tensor,
    *,
    demodulate: bool = True,
    up: int = 1,
    modulation: Modulation = "scaled",
    folded: bool = False,
    border: Tensor | None = None,
    gain: float = 1.0,
    shift: Tensor | None = None,
) -> Tensor:
    """Convolve sample n of ``x`` [N or 1,Ci,H,W] with ``weight`` [Co,Ci,k,k] times ``styles`` [N,Ci]; add ``shift``.

    ``demodulate`` gives every output channel of white input unit variance; ``gain`` multiplies what is convolved and
    not ``shift`` (broadcast to the result). ``up`` 2 doubles the size as ``resampling.conv_up`` does. ``border`` takes
    the place of the zero padding as in PadInv (Bai et al. 2022): a map [N or 1,Ci,H+2,W+2] or larger whose centre is
    ignored, around the modulated input; with ``up`` 2, [N or 1,Co,2H+3,2W+3] around the result of the transposed
    convolution, before the filter and the demodulation. A border is always used in the scaled form.
    """
    if modulation == "grouped" and border is None:
        y, scale = _grouped(x, weight, styles, demodulate, up, folded), None
    else:
        y = _shared(x * styles.to(x.dtype)[:, :, None, None], weight, up, folded, border)
        scale = demodulation(weight, styles)[:, :, None, None] if demodulate else None
    if scale is not None:
        y = y * (scale * gain).to(y.dtype)
    elif gain != 1.0:
        y = y * gain
    return y if shift is None else y + shift.to(y.dtype)


def _shared(x: Tensor, weight: Tensor, up: int, folded: bool, border: Tensor | None) -> Tensor:
    """One kernel for all samples."""
    if up == 2:
        if border is None:
            return conv_up(x, weight, folded=folded)
        return filtered(surround(spread(x, weight), border), 4.0, 0)
    if border is None:
        return F.conv2d(x, weight, padding=weight.shape[-1] // 2)
    return F.conv2d(surround(x, border), weight)


def _grouped(x: Tensor, weight: Tensor, styles: Tensor, demodulate: bool, up: int, folded: bool) -> Tensor:
    """One kernel per sample and one convolution with as many groups as samples."""
    n, (c, h, w) = styles.shape[0], x.shape[1:]
    kernels = weight.float() * styles.float()[:, None, :, None, None]
    if demodulate:
        kernels = kernels * (kernels.square().sum((2, 3, 4), keepdim=True) + _EPSILON).rsqrt()
    kernels = kernels.flatten(0, 1)
    x = x.expand(n, -1, -1, -1).reshape(1, n * c, h, w)
    if up == 2:
        y = conv_up(x, kernels, folded=folded, groups=n)
    else:
        y = F.conv2d(x, kernels, padding=weight.shape[-1] // 2, groups=n)
    return y.view(n, weight.shape[0], *y.shape[2:])


def surround(x: Tensor, border: Tensor) -> Tensor:
    """``x`` [N,C,H,W] in the centre of the ring of ``border`` [N or 1,C,>=H+2,>=W+2], which is cropped centrally."""
    height, width = x.shape[2] + 2, x.shape[3] + 2
    top, left = (border.shape[2] - height) // 2, (border.shape[3] - width) // 2
    ring = border[:, :, top : top + height, left : left + width].to(x.dtype)
    outside = torch.ones(height, width, dtype=x.dtype, device=x.device)
    outside[1:-1, 1:-1] = 0.0
    return F.pad(x, (1, 1, 1, 1)) + ring * outside
