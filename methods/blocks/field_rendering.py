"""Volume rendering of a radiance field: samples along the rays of cameras, culling, compositing.

The field is a function of points and directions that is already conditioned on the codes of its scenes; how it is built
(SIREN, planes, a volume) does not matter here. Depths, densities and compositing are float32 whatever the field uses.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from harness.cameras import rays
from harness.types import Cameras
from methods.blocks.volume_rendering import (
    Quadrature,
    activate,
    composite,
    importance,
    median_depth,
    merge,
    quantiles,
    smoothed,
    stratified,
)

OBJECT_RADIUS = 1.0  # objects fill the unit ball (data convention)
FORWARD = (0.0, 0.0, -1.0)  # the direction of a viewer in front of the object

# Points [B,P,3] and unit directions [B,P,3] of B scenes -> raw densities [B,P] and colours or features [B,P,C].
Field = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Rendering:
    """How to render: samples per ray (``samples`` evenly spaced, ``fine`` more placed by importance) and quadrature.

    ``background``: what fills the first channels where nothing absorbs; further channels stay zero. ``noise``: the
    deviation added to raw densities. With ``shared_jitter`` all images of a batch move their samples alike, which lets
    points outside the ball be culled. ``chunk``: rays of an image per evaluation of the field when no gradient is
    recorded (0: all); it bounds the memory and changes nothing else. ``smooth``: fine samples follow EG3D's smoothed
    mid-point weights instead of the weights of the left rule.
    """

    samples: int
    fine: int
    quadrature: Quadrature
    background: tuple[float, ...] = ()
    noise: float = 0.0
    shared_jitter: bool = False
    chunk: int = 0
    smooth: bool = False


@dataclass(frozen=True)
class Density:
    """Raw density -> density: gain * act(raw + slope * (radius - |x|)), zero outside the unit ball if ``bounded``.

    slope 0, gain 1 is pi-GAN; a slope starts training from a soft ball instead of fog. ``length`` converts world
    lengths to the units that the density counts in (1 / camera radius in pi-GAN).
    """

    gain: float = 1.0
    slope: float = 0.0
    radius: float = 0.5
    bounded: bool = False
    length: float = 1.0


@dataclass(frozen=True)
class FieldView:
    """One render of B scenes: ``features`` [B,C,H,W] in the range of the field's colours.

    ``depth`` [B,H,W]: expected z-depth divided by ``opacity`` [B,H,W]; ``median`` [B,H,W]: the first sample at which
    half the opacity is reached, without gradient; both are ``far`` where a ray is empty. ``z`` and ``weights``
    [B,H*W,S]: depths and weights of the last pass.
    """

    features: Tensor
    depth: Tensor
    opacity: Tensor
    median: Tensor
    z: Tensor
    weights: Tensor

    @property
    def rgb(self) -> Tensor:
        """The first three features, colours in [0,1], as an image [B,3,H,W] in [-1,1]."""
        return self.features[:, :3] * 2 - 1


@dataclass(frozen=True)
class _Rays:
    """Rays of B images with what is drawn for them: any part of the rays renders as it does among all of them."""

    origins: Tensor  # [B,3]
    directions: Tensor  # [B,R,3], camera z = 1
    z: Tensor  # [B,R,S], jittered depths of the even samples
    noise: Tensor | None  # [B,R,S]
    fine: Tensor | None  # quantiles of the fine samples [B,R,F]
    fine_noise: Tensor | None  # [B,R,F]

    def part(self, rows: slice) -> _Rays:
        drawn = (self.directions, self.z, self.noise, self.fine, self.fine_noise)
        return _Rays(self.origins, *(None if x is None else x[:, rows] for x in drawn))  # type: ignore[arg-type]


def render_field(
    field: Field,
    cameras: Cameras,
    resolution: int,
    how: Rendering,
    density: Density,
    generator: torch.Generator | None = None,
) -> FieldView:
    """Render B scenes from B cameras at ``resolution`` x ``resolution`` pixels (NeRF, 5.2; pi-GAN, 3.3).

    Without a generator neither jitter nor noise is added. Raises ValueError for sample counts that cannot be placed
    and for a background of more channels than the field has.
    """
    drawn = _draw(cameras, resolution, how, generator)
    count = drawn.z.shape[1]
    chunk = count if torch.is_grad_enabled() or how.chunk <= 0 else how.chunk
    parts = [_render(field, drawn.part(slice(k, k + chunk)), how, density, cameras.far) for k in range(0, count, chunk)]
    whole = (torch.cat(values, 1) if len(values) > 1 else values[0] for values in zip(*parts, strict=True))
    features, depth, opacity, median, z, weights = whole
    batch, shape = len(z), (len(z), resolution, resolution)
    image = features.transpose(1, 2).reshape(batch, -1, resolution, resolution)
    return FieldView(image, depth.view(shape), opacity.view(shape), median.view(shape), z, weights)


def field_density(field: Field, density: Density, points: Tensor, activation: str) -> Tensor:
    """Density [B,P] per unit of world length at world points [B,P,3] of B scenes; zero outside a bounded field.

    ``activation``: as in ``Quadrature``. The field sees the points from the front.
    """
    directions = points.new_tensor(FORWARD).expand_as(points)
    distance = points.norm(dim=-1)
    raw = field(points, directions)[0].float() + density.slope * (density.radius - distance)
    value = activate(raw, activation) * (density.gain * density.length)
    return torch.where(distance < OBJECT_RADIUS, value, 0.0) if density.bounded else value


def _draw(cameras: Cameras, resolution: int, how: Rendering, generator: torch.Generator | None) -> _Rays:
    """Rays through the pixel centres, their even samples, and all random numbers of both passes."""
    origins, grid = rays(cameras, resolution)
    directions = grid.flatten(1, 2)
    batch, count = directions.shape[:2]
    shared = how.shared_jitter or generator is None
    z = stratified(cameras.near, cameras.far, how.samples, count * (1 if shared else batch), generator, grid.device)
    z = z.view(-1, count, how.samples).expand(batch, -1, -1)

    def noise(samples: int) -> Tensor | None:
        if generator is None or how.noise <= 0:
            return None
        draw = torch.randn(batch, count, samples, generator=generator, device=generator.device)
        return draw.to(grid.device) * how.noise

    first = noise(how.samples)
    if not how.fine:
        return _Rays(origins, directions, z, first, None, None)
    fine = quantiles((batch, count, how.fine), generator, grid.device)
    return _Rays(origins, directions, z, first, fine, noise(how.fine))


def _render(field: Field, drawn: _Rays, how: Rendering, density: Density, far: float) -> tuple[Tensor, ...]:
    """Features [B,R,C], depth, opacity and median [B,R], depths and weights [B,R,S] of some rays."""
    norm = drawn.directions.norm(dim=-1, keepdim=True)
    seen = drawn.directions / norm
    stretch = norm * density.length
    z, (raw, features, inside) = drawn.z, _along(field, drawn, seen, drawn.z, drawn.noise, density)
    if drawn.fine is not None:
        with torch.no_grad():
            rule = "midpoint" if how.smooth else "left"
            plain = replace(how.quadrature, rule=rule, last_back=False)
            coarse = composite(z, raw, features, plain, gain=density.gain, stretch=stretch, inside=inside)
            weights = smoothed(coarse.weights) if how.smooth else coarse.weights
            fine = importance(coarse.z, weights, how.fine, u=drawn.fine)
        more = _along(field, drawn, seen, fine, drawn.fine_noise, density)
        z, raw, features, inside = merge((z, fine), ((raw, more[0]), (features, more[1]), (inside, more[2])))
    out = composite(
        z,
        raw,
        features,
        how.quadrature,
        gain=density.gain,
        stretch=stretch,
        inside=inside if density.bounded else None,
        background=_background(how.background, features),
    )
    return out.colour, out.surface(far), out.opacity, median_depth(out, far), out.z, out.weights


def _background(background: tuple[float, ...], features: Tensor) -> Tensor | None:
    if not background:
        return None
    missing = features.shape[-1] - len(background)
    if missing < 0:
        raise ValueError(f"the background has {len(background)} channels, the field {features.shape[-1]}")
    return F.pad(features.new_tensor(background, dtype=torch.float32), (0, missing))


def _along(
    field: Field, drawn: _Rays, seen: Tensor, z: Tensor, noise: Tensor | None, density: Density
) -> tuple[Tensor, Tensor, Tensor]:
    """Evaluate the field at depths z [B,R,S]: raw density, features [B,R,S,C], and which samples lie inside the ball.

    A bounded field is only evaluated where some image of the batch is inside: with cameras on one sphere around the
    object and common depths that is the same set for all, so nothing is evaluated in vain.
    """
    origins, directions = drawn.origins, drawn.directions
    batch, count, samples = z.shape
    # |o + z d|^2 from per-ray scalars, without forming the points.
    along = (origins[:, None] * directions).sum(-1)[..., None]
    square = (origins * origins).sum(-1)[:, None, None]
    length = (directions * directions).sum(-1)[..., None]
    distance = (square + z * (2 * along + z * length)).clamp_min(0).sqrt()
    if not density.bounded:
        points = origins[:, None, None] + z[..., None] * directions[:, :, None]
        flat = seen[:, :, None].expand_as(points).flatten(1, 2)
        raw, features = field(points.flatten(1, 2), flat)
        raw = raw.view_as(z) + density.slope * (density.radius - distance)
        features = features.view(batch, count, samples, -1)
        inside = torch.ones_like(z)
    else:
        within = distance < OBJECT_RADIUS
        index = within.any(0).flatten().nonzero().squeeze(1)
        if not len(index):
            index = index.new_zeros(1)  # one point in vain tells the number of channels
        ray = index // samples
        depth = z.flatten(1)[:, index]
        points = origins[:, None] + depth[..., None] * directions[:, ray]
        raw, features = field(points, seen[:, ray])
        raw = raw + density.slope * (density.radius - distance.flatten(1)[:, index])
        raw = raw.new_zeros(batch, count * samples).index_copy(1, index, raw).view_as(z)
        channels = features.shape[-1]
        features = features.new_zeros(batch, count * samples, channels).index_copy(1, index, features)
        features = features.view(batch, count, samples, channels)
        inside = within.to(z.dtype)
    return raw if noise is None else raw + noise, features, inside
