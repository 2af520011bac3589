"""The mapping network of StyleGAN2: latents (and a class) to style codes, their running mean and truncation."""

from __future__ import annotations

import itertools

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from harness.types import ConfigError
from methods.blocks.equalised import EqualLinear
from methods.blocks.style_options import StyleOptions

_AVERAGE_DECAY = 0.995


class MappingNetwork(nn.Module):
    """Normalised latents and an embedded class through ``layers`` lrelu layers: [N,z_dim], [N] to [N,outputs].

    ``z_dim`` 0: of the class alone (a conditional discriminator's); ``classes`` 0: of the latents alone.
    """

    def __init__(self, z_dim: int, outputs: int, layers: int, rate: float, classes: int, generator: Generator) -> None:
        super().__init__()
        self.classes = classes
        self.embedding = EqualLinear(classes, outputs, generator) if classes else None
        widths = [z_dim + (outputs if classes else 0)] + [outputs] * layers
        self.layers = nn.ModuleList(
            EqualLinear(inputs, width, generator, rate=rate, activation="lrelu")
            for inputs, width in itertools.pairwise(widths)
        )

    def forward(self, z: Tensor | None, label: Tensor | None = None) -> Tensor:
        """``label`` int64 [N]; computed in fp32. Raises ConfigError where a conditional network gets no label."""
        source = label if z is None else z
        if source is None or (self.embedding is not None and label is None):
            raise ConfigError("a class-conditional network needs labels", where="mapping")
        with torch.autocast(source.device.type, enabled=False):
            parts = [] if z is None else [_normalised(z.float())]
            if self.embedding is not None and label is not None:
                parts.append(_normalised(self.embedding(F.one_hot(label, self.classes).float())))
            x = torch.cat(parts, 1) if len(parts) > 1 else parts[0]
            for layer in self.layers:
                x = layer(x)
            return x


def _normalised(x: Tensor) -> Tensor:
    return x * (x.square().mean(1, keepdim=True) + 1e-8).rsqrt()


class Mapping(nn.Module):
    """Latents to one style code per layer of a synthesis network; buffer ``average`` [w_dim] is their running mean."""

    average: Tensor

    def __init__(self, options: StyleOptions, num_ws: int, generator: Generator, classes: int = 0) -> None:
        super().__init__()
        self.num_ws = num_ws
        self.network = MappingNetwork(
            options.z_dim, options.w_dim, options.mapping_layers, options.mapping_rate, classes, generator
        )
        self.register_buffer("average", torch.zeros(options.w_dim))

    def style(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        """W codes [N,w_dim] of ``z`` [N,z_dim] (and ``label`` int64 [N])."""
        return self.network(z, label)

    def forward(
        self,
        z: Tensor,
        label: Tensor | None = None,
        *,
        truncation: float = 1.0,
        cutoff: int | None = None,
        update_average: bool = False,
    ) -> Tensor:
        """Codes [N,num_ws,w_dim]: average + truncation (w - average) in the first ``cutoff`` layers (None: in all).

        ``update_average`` moves the running mean towards the batch's by 0.005, as in every main call of training.
        """
        w = self.style(z, label)
        if update_average:
            with torch.no_grad():
                self.average.lerp_(w.detach().mean(0), 1.0 - _AVERAGE_DECAY)
        ws = w.unsqueeze(1).expand(-1, self.num_ws, -1)
        return ws if truncation == 1.0 else truncate(ws, self.average, truncation, cutoff)


def truncate(ws: Tensor, average: Tensor, truncation: float, cutoff: int | None = None) -> Tensor:
    """``average + truncation (ws - average)`` for the first ``cutoff`` codes of ``ws`` [N,L,w_dim]."""
    near = torch.lerp(average.expand_as(ws), ws, truncation)
    return near if cutoff is None else torch.cat((near[:, :cutoff], ws[:, cutoff:]), 1)
