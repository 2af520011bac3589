"""Pictures of the pretext task: one textured shape before a background, 6 shapes times 4 textures = 24 classes.

Everything else is a nuisance: position, size, angle, stretch, colours, the background's own faint texture, light and
noise. Balanced batches are laid out as [shape, texture, repeat], so that each shape and texture is one slice.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

SHAPES = ("disc", "square", "triangle", "star", "ring", "cross")
TEXTURES = ("plain", "stripes", "checks", "noise")
CLASSES = len(SHAPES) * len(TEXTURES)
MIN_CONTRAST = 0.35
"""Euclidean distance of RGB in [0,1] that colours keep where the cube's walls allow it."""


def pictures(repeats: int, resolution: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """``repeats`` pictures of every class -> float32 [24 R,3,s,s] in [-1,1] and int64 labels [24 R].

    The label is 4 times the shape's plus the texture's place in ``SHAPES`` and ``TEXTURES``.
    """
    layout = (len(SHAPES), len(TEXTURES), repeats)
    draw = _Draws(layout, generator)
    axis = (torch.arange(resolution) + 0.5) / resolution * 2 - 1
    x, y = axis.view(1, -1), axis.view(-1, 1)

    size = draw.uniform(0.5, 0.85)
    angle = draw.uniform(0, 2 * math.pi)
    stretch = draw.uniform(-0.2, 0.2).exp()
    room = (1.05 - size).clamp(min=0)
    dx, dy = x - draw.uniform(-1, 1) * room, y - draw.uniform(-1, 1) * room
    cos, sin = angle.cos() / size, angle.sin() / size
    u, v = (cos * dx + sin * dy) * stretch, (cos * dy - sin * dx) / stretch
    distance = torch.stack([shape(u[i], v[i]) for i, shape in enumerate(_SHAPES)]) * size
    coverage = (0.5 - distance * (resolution / 2)).clamp(0, 1)

    pattern = torch.stack([texture(draw.one_texture(), x, y) for texture in _TEXTURES], dim=1)
    ground = draw.uniform(0.05, 0.95, channels=3)
    first = _apart(draw, ground)
    second = _apart(draw, first)
    picture = ground + _backdrop(draw, x, y).unsqueeze(-3) * draw.uniform(-0.2, 0.2, channels=3)
    inside = first + pattern.unsqueeze(-3) * (second - first)
    picture = picture + coverage.unsqueeze(-3) * (inside - picture)

    slope = draw.uniform(-0.2, 0.2) * x + draw.uniform(-0.2, 0.2) * y
    picture = picture * (draw.uniform(0.75, 1.15) + slope).unsqueeze(-3)
    level = 0.06 * draw.uniform(0, 1, channels=1) ** 2
    picture = picture + level * torch.randn(picture.shape, generator=generator)
    labels = torch.arange(CLASSES).repeat_interleave(repeats)
    return picture.mul_(2).sub_(1).clamp_(-1, 1).flatten(0, 2), labels


class _Draws:
    """Uniform random numbers, one for every picture of a layout [shape, texture, repeat]."""

    def __init__(self, layout: tuple[int, ...], generator: torch.Generator) -> None:
        self.layout, self.generator = layout, generator

    def uniform(self, low: float, high: float, *, channels: int = 0) -> Tensor:
        """[*layout,1,1], or [*layout,channels,1,1]."""
        shape = (*self.layout, channels, 1, 1) if channels else (*self.layout, 1, 1)
        return torch.rand(shape, generator=self.generator) * (high - low) + low

    def one_texture(self) -> _Draws:
        """Draws for the pictures of one texture, layout [shape, repeat]."""
        return _Draws((self.layout[0], self.layout[2]), self.generator)


def _apart(draw: _Draws, colour: Tensor) -> Tensor:
    """A random colour about ``MIN_CONTRAST`` or more from ``colour``: pushed away from it where it is too near."""
    other = draw.uniform(0, 1, channels=3)
    gap = other - colour
    length = gap.norm(dim=-3, keepdim=True).clamp(min=1e-3)
    pushed = colour + gap * (MIN_CONTRAST / length)
    inward = colour - gap * (MIN_CONTRAST / length)
    fits = (pushed - pushed.clamp(0, 1)).abs().amax(dim=-3, keepdim=True) < 0.1
    return torch.where(length >= MIN_CONTRAST, other, torch.where(fits, pushed, inward)).clamp(0, 1)


# ---------------------------------------------------------------- signed distances, shape's radius about 1
def _disc(u: Tensor, v: Tensor) -> Tensor:
    return (u * u + v * v).sqrt() - 0.9


def _square(u: Tensor, v: Tensor) -> Tensor:
    return torch.maximum(u.abs(), v.abs()) - 0.78


def _triangle(u: Tensor, v: Tensor) -> Tensor:
    return torch.maximum(0.866 * u.abs() - 0.5 * v, v) - 0.55


def _star(u: Tensor, v: Tensor) -> Tensor:
    sector = 2 * math.pi / 5
    turn = torch.remainder(torch.atan2(u, v), sector) - sector / 2
    radius = (u * u + v * v).sqrt()
    # the edge runs from the notch (radius 0.42, turn 0) to the tip (radius 1.05, turn +-sector / 2)
    tip_x, tip_y = 1.05 * math.cos(sector / 2), 1.05 * math.sin(sector / 2)
    edge_x, edge_y = tip_x - 0.42, tip_y
    length = math.hypot(edge_x, edge_y)
    along, across = radius * turn.cos() - 0.42, radius * turn.abs().sin()
    return (along * edge_y - across * edge_x) / length


def _ring(u: Tensor, v: Tensor) -> Tensor:
    return ((u * u + v * v).sqrt() - 0.72).abs() - 0.25


def _cross(u: Tensor, v: Tensor) -> Tensor:
    u, v = u.abs(), v.abs()
    return torch.maximum(torch.maximum(u, v) - 0.98, torch.minimum(u, v) - 0.3)


# ---------------------------------------------------------------- textures, values in [0,1]
def _plain(draw: _Draws, x: Tensor, y: Tensor) -> Tensor:
    return draw.uniform(0, 1).expand(*draw.layout, y.shape[0], x.shape[1])


def _phase(draw: _Draws, x: Tensor, y: Tensor, low: float, high: float) -> tuple[Tensor, Tensor]:
    """Phases of two perpendicular waves with ``low`` to ``high`` periods across the picture."""
    angle, frequency = draw.uniform(0, math.pi), draw.uniform(low, high) * math.pi
    cos, sin = angle.cos() * frequency, angle.sin() * frequency
    return (
        cos * x + sin * y + draw.uniform(0, 2 * math.pi),
        cos * y - sin * x + draw.uniform(0, 2 * math.pi),
    )


def _edge(wave: Tensor, sharpness: Tensor) -> Tensor:
    """A wave in [-1,1] made squarer, as values in [0,1]."""
    return (wave * sharpness).clamp(-1, 1) * 0.5 + 0.5


def _stripes(draw: _Draws, x: Tensor, y: Tensor) -> Tensor:
    along, _ = _phase(draw, x, y, 5, 14)
    return _edge(along.sin() + draw.uniform(-0.4, 0.4), draw.uniform(1, 5))


def _checks(draw: _Draws, x: Tensor, y: Tensor) -> Tensor:
    """Chequers (a product of waves) or dots (a sum of waves over a threshold)."""
    along, across = _phase(draw, x, y, 4, 10)
    along, across = along.sin(), across.sin()
    dots = draw.uniform(0, 1) < 0.5
    wave = torch.where(dots, (along + across) * 0.6 - 0.35, along * across * 2)
    return _edge(wave, draw.uniform(1, 5))


def _noise(draw: _Draws, x: Tensor, y: Tensor) -> Tensor:
    """Blotches of random grain: two octaves of smooth noise, mixed."""
    side = y.shape[0]
    fine = _blotches(draw, max(side // 2, 2), side)
    coarse = _blotches(draw, max(side // 5, 2), side)
    return _edge((coarse + draw.uniform(0, 1) * (fine - coarse)) * 1.2, draw.uniform(0.8, 2))


def _blotches(draw: _Draws, cells: int, side: int) -> Tensor:
    grid = torch.randn((*draw.layout, cells, cells), generator=draw.generator).flatten(0, 1).unsqueeze(1)
    smooth = F.interpolate(grid, size=(side, side), mode="bilinear", align_corners=False)
    return smooth.view(*draw.layout, side, side)


def _backdrop(draw: _Draws, x: Tensor, y: Tensor) -> Tensor:
    """The background's own texture in [-1,1]: a slow gradient, waves or blotches."""
    along, across = _phase(draw, x, y, 0.5, 10)
    kind = draw.uniform(0, 1)
    waves = torch.where(kind < 0.5, along.sin(), along.sin() * across.sin())
    slow = draw.uniform(-0.7, 0.7) * x + draw.uniform(-0.7, 0.7) * y
    return torch.where(kind < 0.6, slow, torch.where(kind < 0.8, waves, slow * waves))


_SHAPES = (_disc, _square, _triangle, _star, _ring, _cross)
_TEXTURES = (_plain, _stripes, _checks, _noise)
