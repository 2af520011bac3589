"""The discriminator of HoloGAN with its identity, style and pose heads (sections 3.3 and 3.4 of the paper)."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn
from torch.nn.utils import parametrizations

from methods.blocks.convolution import SameConv2d
from methods.blocks.initial import initialise
from methods.hologan.model import POSE_CODE
from methods.hologan.options import Options, StyleHeads


@dataclass(frozen=True)
class Verdict:
    """What the trunk says about images: ``logit`` [N,1], ``flat`` features [N,F] for the heads, and the logits of
    the style heads, one tensor per level; all fp32."""

    logit: Tensor
    flat: Tensor
    styles: tuple[Tensor, ...]


class InstanceNorm(nn.Module):
    """Instance norm with learnt scale and offset; ``forward`` is given the statistics, which style heads share."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
        gain = self.weight * torch.rsqrt(variance + 1e-5)
        return (x - mean[..., None, None]) * gain[..., None, None] + self.bias[:, None, None]


class StyleHead(nn.Module):
    """Classifies the statistics of one feature level as real or fake (section 3.4).

    ``paper``: an MLP on mean and standard deviation as one vector, [N,1]. ``code``: mean and variance stacked along the
    batch, one linear layer for both, [2N,1].
    """

    def __init__(self, channels: int, kind: StyleHeads) -> None:
        super().__init__()
        self.kind = kind
        if kind == "paper":
            self.layers = nn.Sequential(nn.Linear(2 * channels, channels), nn.LeakyReLU(0.2), nn.Linear(channels, 1))
        else:
            self.layers = nn.Sequential(nn.Linear(channels, 1))

    def forward(self, mean: Tensor, variance: Tensor) -> Tensor:
        if self.kind == "paper":
            return self.layers(torch.cat([mean, torch.sqrt(variance + 1e-8)], dim=1))
        return self.layers(torch.cat([mean, variance], dim=0))


class HoloDiscriminator(nn.Module):
    """Stride-2 SAME convolutions, a linear logit, and heads that recover the latent and (optionally) the pose.

    ``forward(images [N,3,R,R])`` returns a ``Verdict``; ``latent`` and ``pose`` read its ``flat``. The first
    convolution has neither norm; the linear heads run in fp32 and carry no spectral norm.
    """

    def __init__(self, options: Options, generator: Generator) -> None:
        super().__init__()
        o = options
        widths = (3, *o.d_widths)
        self.instance, self.fast = o.d_norm == "instance", o.fast
        self.convs = nn.ModuleList(SameConv2d(a, b, o.d_kernel, 2) for a, b in pairwise(widths))
        self.norms = nn.ModuleList(InstanceNorm(width) for width in o.d_widths[1:]) if self.instance else None
        levels = o.d_widths[1:] if o.style_heads != "none" else ()
        self.style_heads = nn.ModuleList(StyleHead(width, o.style_heads) for width in levels)
        flat = o.d_widths[-1] * (o.resolution // 2 ** len(o.d_widths)) ** 2
        self.logit = nn.Linear(flat, 1)
        self.code = nn.Linear(flat, 128)
        self.latent_head = nn.Linear(128, o.z_dim)
        self.pose_head = nn.Linear(128, POSE_CODE) if o.recognise_pose > 0 else None
        he = o.weights == "he"
        initialise(self, generator, convolution="he" if he else "truncated", linear="he" if he else "normal")
        for norm in self.norms or ():
            nn.init.normal_(cast(InstanceNorm, norm).weight, 1.0, 0.02, generator=generator)
        if o.spectral_norm:
            for conv in list(self.convs)[1:]:
                _normalise_spectrum(cast(SameConv2d, conv), generator)

    def forward(self, images: Tensor) -> Verdict:
        x = images
        if self.fast:
            x = x.contiguous(memory_format=torch.channels_last)
        styles: list[Tensor] = []
        for level, conv in enumerate(self.convs):
            x = conv(x)
            if level and (self.norms is not None or self.style_heads):
                with torch.autocast(x.device.type, enabled=False):
                    x = self._statistics(x.float(), level - 1, styles)
            x = F.leaky_relu(x, 0.2)
        with torch.autocast(x.device.type, enabled=False):
            flat = x.float().flatten(1)
            return Verdict(self.logit(flat), flat, tuple(styles))

    def _statistics(self, x: Tensor, level: int, styles: list[Tensor]) -> Tensor:
        """Classify the statistics before the norm, then normalise with them."""
        variance, mean = torch.var_mean(x, (2, 3), unbiased=False)
        if self.style_heads:
            styles.append(self.style_heads[level](mean, variance))
        return x if self.norms is None else self.norms[level](x, mean, variance)

    def _code(self, flat: Tensor) -> Tensor:
        return F.leaky_relu(self.code(flat), 0.2)

    def latent(self, flat: Tensor) -> Tensor:
        """The latent [N,Z] in (-1,1) that the images were drawn from, as far as the recognition head can tell."""
        with torch.autocast(flat.device.type, enabled=False):
            return torch.tanh(self.latent_head(self._code(flat)))

    def pose(self, flat: Tensor) -> Tensor:
        """The pose code [N,3] that the images were drawn with; only with ``recognise_pose`` above 0."""
        assert self.pose_head is not None, "recognise_pose is 0"
        with torch.autocast(flat.device.type, enabled=False):
            return self.pose_head(self._code(flat))


def _normalise_spectrum(conv: SameConv2d, generator: Generator) -> None:
    """Divide the kernel by its largest singular value, one power iteration per training pass (Miyato et al. 2018).

    torch draws the first singular vectors from the global state: they are drawn again from ``generator``.
    """
    norm: Any = parametrizations.spectral_norm(conv).parametrizations["weight"]  # type: ignore[index]
    matrix = norm.original.detach().flatten(1)
    with torch.no_grad():
        for vector in (norm[0]._u, norm[0]._v):
            vector.copy_(F.normalize(torch.empty_like(vector).normal_(generator=generator), dim=0))
        norm[0]._power_method(matrix, 15)
