"""The pi-GAN generator: a FiLM-SIREN field per latent, volume-rendered (Chan et al. 2021, sections 3.1-3.3)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from harness.cameras import rays
from harness.types import Cameras
from methods.blocks.siren import MappingNetwork, SirenField
from methods.blocks.volume_rendering import Quadrature, composite, importance, merge, stratified

OBJECT_RADIUS = 1.0  # objects fill the unit ball (data convention)
FORWARD = (0.0, 0.0, -1.0)  # the direction that a locked view always reports: towards the front of the object


@dataclass(frozen=True)
class Rendering:
    """How to render: samples per ray (``samples`` evenly spaced, ``fine`` more placed by importance), quadrature, and
    whether the field sees one fixed view direction. ``noise`` is the deviation added to raw densities. With
    ``shared_jitter`` all images of a batch move their samples alike, which lets points outside the ball be culled."""

    samples: int
    fine: int
    quadrature: Quadrature
    background: tuple[float, ...] = ()
    lock_view: bool = False
    noise: float = 0.0
    shared_jitter: bool = False


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
class View:
    """One render: ``rgb`` [B,3,H,W] in [-1,1], z-depth and opacity [B,H,W]."""

    rgb: Tensor
    depth: Tensor
    opacity: Tensor


class Generator(nn.Module):
    """Mapping network and field; ``forward`` renders latents at cameras."""

    def __init__(self, mapping: MappingNetwork, field: SirenField, density: Density) -> None:
        super().__init__()
        self.mapping = mapping
        self.field = field
        self.density = density

    def condition(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Frequencies and phases [B,layers,width] of latents [B,latent]."""
        return self.field.condition(self.mapping, z)

    def forward(
        self, z: Tensor, cameras: Cameras, resolution: int, how: Rendering, generator: torch.Generator | None = None
    ) -> View:
        """Render latents z [B,latent] at B cameras; without a generator neither jitter nor noise is added."""
        return self.render(*self.condition(z), cameras, resolution, how, generator)

    def render(
        self,
        frequencies: Tensor,
        phases: Tensor,
        cameras: Cameras,
        resolution: int,
        how: Rendering,
        generator: torch.Generator | None = None,
    ) -> View:
        """Render conditioned fields at B cameras (hierarchical sampling where ``how.fine`` > 0)."""
        origins, grid = rays(cameras, resolution)
        directions = grid.flatten(1, 2)
        batch, count = directions.shape[:2]
        norm = directions.norm(dim=-1, keepdim=True)
        seen = directions / norm
        if how.lock_view:
            seen = directions.new_tensor(FORWARD).expand_as(directions)
        shared = how.shared_jitter or generator is None
        z = stratified(cameras.near, cameras.far, how.samples, count * (1 if shared else batch), generator, grid.device)
        z = z.view(-1, count, how.samples).expand(batch, -1, -1)

        def sample(z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            raw, colour, inside = self._along(origins, directions, seen, z, frequencies, phases)
            if how.noise > 0 and generator is not None:
                draw = torch.randn(raw.shape, generator=generator, device=generator.device)
                raw = raw + draw.to(raw.device) * how.noise
            return raw, colour, inside

        stretch = norm * self.density.length
        raw, colour, inside = sample(z)
        if how.fine:
            with torch.no_grad():
                plain = replace(how.quadrature, rule="left", last_back=False)
                coarse = composite(z, raw, colour, plain, gain=self.density.gain, stretch=stretch, inside=inside)
            fine = importance(z, coarse.weights, how.fine, generator)
            more = sample(fine)
            z, raw, colour, inside = merge((z, fine), ((raw, more[0]), (colour, more[1]), (inside, more[2])))
        background = grid.new_tensor(how.background) if how.background else None
        out = composite(
            z,
            raw,
            colour,
            how.quadrature,
            gain=self.density.gain,
            stretch=stretch,
            inside=inside if self.density.bounded else None,
            background=background,
        )
        shape = (batch, resolution, resolution)
        rgb = (out.colour * 2 - 1).transpose(1, 2).reshape(batch, 3, resolution, resolution)
        return View(rgb, out.surface(cameras.far).view(shape), out.opacity.view(shape))

    def _along(
        self, origins: Tensor, directions: Tensor, seen: Tensor, z: Tensor, frequencies: Tensor, phases: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Evaluate the field at depths z [B,R,S]: raw density, colour [B,R,S,3], and which samples lie inside the ball.

        A bounded field is only evaluated where some image of the batch is inside: with cameras on one sphere around the
        object and common depths that is the same set for all, so nothing is evaluated in vain.
        """
        batch, count, samples = z.shape
        # |o + z d|^2 from per-ray scalars, without forming the points.
        along = (origins[:, None] * directions).sum(-1)[..., None]
        square = (origins * origins).sum(-1)[:, None, None]
        length = (directions * directions).sum(-1)[..., None]
        distance = (square + z * (2 * along + z * length)).clamp_min(0).sqrt()
        if not self.density.bounded:
            points = origins[:, None, None] + z[..., None] * directions[:, :, None]
            flat = seen[:, :, None].expand_as(points).flatten(1, 2)
            raw, colour = self.field(points.flatten(1, 2), flat, frequencies, phases)
            raw = raw.view_as(z) + self.density.slope * (self.density.radius - distance)
            return raw, colour.view(batch, count, samples, 3), torch.ones_like(z)
        inside = distance < OBJECT_RADIUS
        index = inside.any(0).flatten().nonzero().squeeze(1)
        ray = index // samples
        depth = z.flatten(1)[:, index]
        points = origins[:, None] + depth[..., None] * directions[:, ray]
        raw, colour = self.field(points, seen[:, ray], frequencies, phases)
        raw = raw + self.density.slope * (self.density.radius - distance.flatten(1)[:, index])
        raw = raw.new_zeros(batch, count * samples).index_copy(1, index, raw)
        colour = colour.new_zeros(batch, count * samples, 3).index_copy(1, index, colour)
        return raw.view_as(z), colour.view(batch, count, samples, 3), inside.to(z.dtype)
