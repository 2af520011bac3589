"""The pi-GAN generator: a FiLM-SIREN field per latent, volume-rendered (Chan et al. 2021, sections 3.1-3.3)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from harness.types import Cameras
from methods.blocks.field_rendering import FORWARD, Density, Field, FieldView, Rendering, render_field
from methods.blocks.siren import MappingNetwork, SirenField


class Generator(nn.Module):
    """Mapping network and field; ``forward`` renders latents at cameras.

    With ``lock_view`` the field always sees the same view direction, that of a viewer in front of the object.
    """

    def __init__(self, mapping: MappingNetwork, field: SirenField, density: Density, lock_view: bool = False) -> None:
        super().__init__()
        self.mapping = mapping
        self.field = field
        self.density = density
        self.lock_view = lock_view

    def condition(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Frequencies and phases [B,layers,width] of latents [B,latent]."""
        return self.field.condition(self.mapping, z)

    def at(self, frequencies: Tensor, phases: Tensor) -> Field:
        """The fields that frequencies and phases [B,layers,width] describe."""

        def evaluate(points: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
            seen = directions.new_tensor(FORWARD).expand_as(directions) if self.lock_view else directions
            raw, colour = self.field(points, seen, frequencies, phases)
            return raw, colour

        return evaluate

    def forward(
        self, z: Tensor, cameras: Cameras, resolution: int, how: Rendering, generator: torch.Generator | None = None
    ) -> FieldView:
        """Render latents z [B,latent] at B cameras, colours in [0,1]; without a generator nothing is random."""
        return self.render(*self.condition(z), cameras, resolution, how, generator)

    def render(
        self,
        frequencies: Tensor,
        phases: Tensor,
        cameras: Cameras,
        resolution: int,
        how: Rendering,
        generator: torch.Generator | None = None,
    ) -> FieldView:
        """Render conditioned fields at B cameras (hierarchical sampling where ``how.fine`` > 0)."""
        return render_field(self.at(frequencies, phases), cameras, resolution, how, self.density, generator)
