"""Generator and discriminator of DCGAN (Radford et al., ICLR 2016, figure 1 and section 3)."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from harness.types import ConfigError
from methods.blocks.convolution import SameConv2d, SameConvTranspose, UpsampleConv
from methods.blocks.initial import WeightRule, initialise
from methods.blocks.options import parse_options
from methods.blocks.schedule import Schedule


@dataclass(frozen=True)
class Options:
    """One field per preset key; README.md explains each."""

    batch_size: int
    z_dim: int
    widths: tuple[int, ...]
    kernel: int
    upsampling: Literal["nearest", "transposed"]
    d_widths: tuple[int, ...]
    d_norm: Literal["none", "batch"]
    weights: WeightRule
    r1_gamma: float
    r1_every: int
    lr: float
    beta1: float
    beta2: float
    lr_schedule: Schedule
    lr_hold: float
    lr_floor: float
    ema_decay: float
    fast: bool


def parse(config: Any, resolution: int) -> Options:
    """Options of ``config`` for images of ``resolution`` pixels. Raises ConfigError for values that cannot work."""
    options = parse_options(Options, config, "dcgan")
    drawn = 2 * 2 ** len(options.widths) if options.upsampling == "nearest" else 4 * 2 ** len(options.widths)
    if drawn != resolution:
        raise ConfigError(
            f"draws {drawn}-pixel images, the data have {resolution}",
            where="dcgan.widths",
            remedy="Entries after the first double the 4-pixel start; a transposed output layer doubles once more.",
        )
    if not options.d_widths or resolution % 2 ** len(options.d_widths):
        raise ConfigError(f"cannot halve {resolution} pixels {len(options.d_widths)} times", where="dcgan.d_widths")
    return options


class DcGenerator(nn.Module):
    """Latents [N,Z] to images [N,3,R,R] in [-1,1], fp32.

    A linear layer makes 4x4 features; every further layer doubles the side, with batch norm and ReLU after each but the
    last. ``nearest`` replaces the transposed convolutions by upsampling and 3x3 convolutions, the last at full size.
    """

    def __init__(self, options: Options, generator: Generator) -> None:
        super().__init__()
        o = self.options = options
        self.first = nn.Linear(o.z_dim, o.widths[0] * 4**2)
        self.norms = nn.ModuleList(nn.BatchNorm2d(width) for width in o.widths)
        self.convs = nn.ModuleList(self._grow(a, b) for a, b in pairwise(o.widths))
        last = o.widths[-1]
        self.out = nn.Conv2d(last, 3, 3, padding=1) if o.upsampling == "nearest" else self._grow(last, 3)
        initialise(self, generator, convolution=o.weights, linear=o.weights, slope=0.0)
        if o.weights == "normal":
            for norm in self.norms:
                nn.init.normal_(norm.weight, 1.0, 0.02, generator=generator)  # type: ignore[arg-type]
        else:
            with torch.no_grad():  # tanh saturates: start at half the scale
                for parameter in self.out.parameters():
                    parameter.mul_(0.5)

    def _grow(self, inputs: int, outputs: int) -> nn.Module:
        if self.options.upsampling == "nearest":
            return UpsampleConv(2, inputs, outputs, folded=self.options.fast)
        return SameConvTranspose(2, inputs, outputs, self.options.kernel, 2)

    def forward(self, latents: Tensor) -> Tensor:
        x = self.first(latents).view(len(latents), -1, 4, 4)
        if self.options.fast:
            x = x.contiguous(memory_format=torch.channels_last)
        x = F.relu(self.norms[0](x))
        for conv, norm in zip(self.convs, list(self.norms)[1:], strict=True):
            x = F.relu(norm(conv(x)))
        return torch.tanh(self.out(x).float())


class DcDiscriminator(nn.Module):
    """Images [N,3,R,R] to logits [N,1]: stride-2 convolutions, leaky ReLU and, as an option, batch norm."""

    def __init__(self, options: Options, resolution: int, generator: Generator) -> None:
        super().__init__()
        o = options
        self.fast = o.fast
        self.convs = nn.ModuleList(SameConv2d(a, b, o.kernel, 2) for a, b in pairwise((3, *o.d_widths)))
        normed = o.d_norm == "batch"
        self.norms = nn.ModuleList(nn.BatchNorm2d(w) if normed else nn.Identity() for w in o.d_widths[1:])
        self.logit = nn.Linear(o.d_widths[-1] * (resolution // 2 ** len(o.d_widths)) ** 2, 1)
        initialise(self, generator, convolution=o.weights, linear=o.weights)

    def forward(self, images: Tensor) -> Tensor:
        x = images.contiguous(memory_format=torch.channels_last) if self.fast else images
        for conv, norm in zip(self.convs, [nn.Identity(), *self.norms], strict=True):
            x = F.leaky_relu(norm(conv(x)), 0.2)
        with torch.autocast(x.device.type, enabled=False):
            return self.logit(x.float().flatten(1))
