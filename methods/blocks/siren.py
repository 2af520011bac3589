"""FiLM-conditioned sine networks over space (Sitzmann et al. 2020; pi-GAN, Chan et al. 2021, section 3.2)."""

from __future__ import annotations

import itertools
import math
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

SLOPE = 0.2
DIRECTION_OCTAVES = 4  # positional encoding of view directions, as NeRF


def compute_dtype(device: torch.device) -> torch.dtype:
    """The dtype that matrix products take under the current autocast state."""
    if torch.is_autocast_enabled(device.type):
        return torch.get_autocast_dtype(device.type)
    return torch.float32


class FilmSine(torch.autograd.Function):
    """sin(h W + b) per image: h [B,P,n], W [B,n,m], b [B,m] -> [B,P,m] in ``dtype``; computed in the dtype of h.

    Saves nothing beyond the argument, multiplies in place, and keeps a float32 first layer's large backward products in
    ``dtype``: a third less time than autograd's own there. First derivatives only.
    """

    @staticmethod
    def forward(ctx: Any, h: Tensor, weight: Tensor, bias: Tensor, dtype: torch.dtype) -> Tensor:
        argument = torch.baddbmm(bias[:, None], h, weight)
        ctx.save_for_backward(h, weight, argument)
        return torch.sin(argument).to(dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor, Tensor, None]:
        h, weight, argument = ctx.saved_tensors
        slope = torch.cos(argument).to(gradient.dtype).mul_(gradient)
        to_h = torch.bmm(slope, weight.to(slope.dtype).transpose(1, 2)).to(h.dtype) if ctx.needs_input_grad[0] else None
        to_weight = torch.bmm(h.to(slope.dtype).transpose(1, 2), slope).to(weight.dtype)
        return to_h, to_weight, slope.sum(1).to(weight.dtype), None


class MappingNetwork(nn.Module):
    """z [B,latent] -> per-layer (frequencies, phases), each [B,layers,width], before scaling (pi-GAN, 4.1).

    ``depth`` linear layers of ``hidden`` units with LReLU 0.2, then one linear layer; Kaiming normal weights, those of
    the last layer times 0.25. ``trunk`` gives the last hidden activations [B,hidden].
    """

    def __init__(self, latent: int, hidden: int, depth: int, layers: int, width: int) -> None:
        super().__init__()
        sizes = [latent] + [hidden] * depth
        self.hidden = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(sizes))
        self.out = nn.Linear(hidden, 2 * layers * width)
        self.layers, self.width = layers, width
        for module in (*self.hidden, self.out):
            nn.init.kaiming_normal_(module.weight, a=SLOPE, mode="fan_in", nonlinearity="leaky_relu")
        with torch.no_grad():
            self.out.weight *= 0.25

    def trunk(self, z: Tensor) -> Tensor:
        for layer in self.hidden:
            z = F.leaky_relu(layer(z), SLOPE)
        return z

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        both = self.out(self.trunk(z)).view(len(z), 2, self.layers, self.width)
        return both[:, 0], both[:, 1]


class EmbeddingGrid(nn.Module):
    """A learnt feature volume over [-1,1]^3, sampled trilinearly: corners at corner voxels, zero outside."""

    def __init__(self, channels: int, size: int, deviation: float) -> None:
        super().__init__()
        self.volume = nn.Parameter(torch.randn(1, channels, size, size, size) * deviation)

    def forward(self, points: Tensor) -> Tensor:
        """Features [B,P,C] at points [B,P,3] in [-1,1]."""
        flat = points.reshape(1, 1, 1, -1, 3)
        sampled = F.grid_sample(self.volume, flat, mode="bilinear", padding_mode="zeros", align_corners=True)
        return sampled.reshape(self.volume.shape[1], *points.shape[:2]).permute(1, 2, 0)


def positional_encoding(x: Tensor, octaves: int) -> Tensor:
    """x and the sines and cosines of pi 2^k x, k < octaves: [...,D] -> [...,D (1 + 2 octaves)] (NeRF, 5.1)."""
    scales = math.pi * 2.0 ** torch.arange(octaves, device=x.device, dtype=x.dtype)
    angles = (x[..., None, :] * scales[:, None]).flatten(-2)
    return torch.cat((x, angles.sin(), angles.cos()), -1)


class SirenField(nn.Module):
    """(points, directions, conditioning) -> raw density and colour.

    ``depth`` layers h <- act(f * (W h + b) + p), a density head, and one more such layer on (direction, h) for the
    colour. ``activation``: ``sine``, or ``relu_pe`` = ReLU on positionally encoded input. ``conditioning``: ``film`` (f
    and p per layer come from the mapping network) or ``concat`` (its hidden code joins the input; f is constant).
    ``frequency`` = (a, b): f = a * frequencies + b for sines; ReLU layers take 1 + frequencies instead.
    Points are multiplied by ``coordinate_scale`` first. Initialisation: hidden U(+-sqrt(6/n)/omega), first layer
    U(+-1/3); omega belongs to the frequencies: 25 for b = 30.
    """

    def __init__(
        self,
        *,
        width: int,
        depth: int,
        frequency: tuple[float, float],
        omega: float,
        coordinate_scale: float = 1.0,
        activation: str = "sine",
        conditioning: str = "film",
        view_direction: bool = True,
        octaves: int = 6,
        code: int = 0,
        grid: EmbeddingGrid | None = None,
    ) -> None:
        super().__init__()
        self.depth, self.width = depth, width
        self.frequency, self.coordinate_scale, self.octaves = frequency, coordinate_scale, octaves
        self.sine, self.film, self.view_direction = activation == "sine", conditioning == "film", view_direction
        self.grid = grid
        point = 3 if self.sine else 3 * (1 + 2 * octaves)
        direction = (3 if self.sine else 3 * (1 + 2 * DIRECTION_OCTAVES)) if view_direction else 0
        first = point + (grid.volume.shape[1] if grid is not None else 0)
        sizes = [first] + [width] * depth
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(sizes))
        self.density = nn.Linear(width, 1)
        self.colour = nn.Linear(width + direction, width)
        self.rgb = nn.Linear(width, 3)
        # Concatenating a code that is constant over an image is the same as a bias per image.
        self.code = None if self.film else nn.Linear(code, width, bias=False)
        self._initialise(omega)

    def _initialise(self, omega: float) -> None:
        first, *rest = (layer for layer in self.layers if isinstance(layer, nn.Linear))
        hidden = [*rest, self.density, self.colour, self.rgb]
        with torch.no_grad():
            if not self.sine:
                for layer in (first, *hidden):
                    nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu")
                return
            for layer in hidden:
                bound = math.sqrt(6 / layer.weight.shape[1]) / omega
                layer.weight.uniform_(-bound, bound)
            first.weight.uniform_(-1 / 3, 1 / 3)

    def condition(self, mapping: MappingNetwork, z: Tensor) -> tuple[Tensor, Tensor]:
        """What the layers need of z: frequencies and phases [B,depth+1,width] for ``film``; otherwise constants and,
        in the first layer's phase, the hidden code times the first layer's code weights."""
        if self.film:
            return mapping(z)
        assert self.code is not None
        zeros = z.new_zeros(len(z), self.depth + 1, self.width)
        bias = self.code(mapping.trunk(z)) * (self.frequency[1] if self.sine else 1.0)
        return zeros, torch.cat((bias[:, None], zeros[:, 1:]), 1)

    def _layer(
        self,
        h: Tensor,
        layer: nn.Module,
        frequency: Tensor,
        phase: Tensor,
        dtype: torch.dtype,
        result: torch.dtype | None = None,
    ) -> Tensor:
        """act(f (W h + b) + p) for h [B,P,n], f and p [B,m]: f and p are folded into one affine map per image, which
        spares two passes over [B,P,m]. Computed in ``dtype``, returned in ``result``."""
        assert isinstance(layer, nn.Linear)
        scale = self.frequency[0] * frequency + self.frequency[1] if self.sine else 1 + frequency
        weight = (scale[:, None, :] * layer.weight.t()).to(dtype)
        bias = (scale * layer.bias + phase).to(dtype)
        with torch.autocast(h.device.type, enabled=False):
            if self.sine:
                return cast("Tensor", FilmSine.apply(h.to(dtype), weight, bias, result or dtype))
            return F.relu(torch.baddbmm(bias[:, None], h.to(dtype), weight)).to(result or dtype)

    def forward(self, points: Tensor, directions: Tensor, frequencies: Tensor, phases: Tensor) -> tuple[Tensor, Tensor]:
        """Raw densities float32 [B,P] and colours in [0,1] float32 [B,P,3].

        ``points`` and unit ``directions`` are float32 [B,P,3]; ``frequencies`` and ``phases`` [B,depth+1,width] come
        from ``condition``. Under autocast the layers after the first run in its dtype: coordinates times a frequency
        of 30 do not survive bf16.
        """
        dtype = compute_dtype(points.device)
        frequencies, phases = frequencies.float(), phases.float()
        x = points * self.coordinate_scale
        h = x if self.sine else positional_encoding(x, self.octaves)
        if self.grid is not None:
            h = torch.cat((self.grid(x), h), -1)
        for k, layer in enumerate(self.layers):
            exact = torch.float32 if k == 0 else dtype
            h = self._layer(h, layer, frequencies[:, k], phases[:, k], exact, dtype)
        raw = F.linear(h, self.density.weight.to(dtype), self.density.bias.to(dtype))
        if self.view_direction:
            seen = directions if self.sine else positional_encoding(directions, DIRECTION_OCTAVES)
            h = torch.cat((seen.to(dtype), h), -1)
        h = self._layer(h, self.colour, frequencies[:, -1], phases[:, -1], dtype)
        rgb = F.linear(h, self.rgb.weight.to(dtype), self.rgb.bias.to(dtype))
        return raw.float().squeeze(-1), torch.sigmoid(rgb.float())
