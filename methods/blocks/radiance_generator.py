"""What ``RadianceGan`` expects of the network that it trains."""

from __future__ import annotations

from typing import Any, Protocol

from torch import Generator, Tensor

from harness.types import Cameras
from methods.blocks.field_rendering import Density, Field, FieldView, Rendering


class RadianceGenerator(Protocol):
    """What a ``RadianceGan`` trains: a module that renders scenes; R pixels, r rays across an image.

    ``codes`` maps latents [B,Z] (and pose labels [B,25] where the generator is told the pose) to codes [B,L,W];
    ``scene`` is what all views of one scene share (planes, a volume); ``field`` is the field of such scenes.
    """

    density: Density

    def codes(self, z: Tensor, pose: Tensor | None = None) -> Tensor: ...

    def scene(self, codes: Tensor) -> Any: ...

    def field(self, scene: Any) -> Field: ...

    def render(
        self, scene: Any, cameras: Cameras, resolution: int, how: Rendering, generator: Generator | None = None
    ) -> tuple[Tensor, Tensor | None, FieldView]:
        """Image [B,3,R,R] and rendered image [B,3,r,r] in [-1,1] (None where they are the same, with R = r)."""
