"""The generator of VolumeGAN (Xu et al., CVPR 2022): a feature volume and a modulated field, rendered, then refined."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from harness.types import Cameras
from methods.blocks.feature_volume import FeatureVolume, sample_volume
from methods.blocks.field_rendering import Density, Field, FieldView, Rendering, render_field
from methods.blocks.modulated_field import ModulatedField, octave_encoding
from methods.blocks.neural_renderer import COLOURS, NeuralRenderer
from methods.blocks.style_mapping import MappingNetwork
from methods.volumegan.options import VolumeOptions


@dataclass(frozen=True)
class Scene:
    """What one evaluation of the volume gives to any number of cameras and passes: features [N,C,G,G,G] (None without a
    volume), and the codes [N,L,w_dim] they came from."""

    volume: Tensor | None
    codes: Tensor


class VolumeGenerator(nn.Module):
    """Latents to codes, codes to scenes, scenes and cameras to images.

    The first ``field_depth`` codes belong to the shape (and the first of them to the volume), the others to the
    renderer. ``size`` and ``alpha`` are the image size that training has reached and the weight of its to-RGB layer.
    ``unit`` multiplies world lengths before anything else.
    """

    def __init__(
        self,
        o: VolumeOptions,
        *,
        z_dim: int,
        rays: int,
        resolution: int,
        density: Density,
        unit: float,
        generator: Generator,
    ) -> None:
        super().__init__()
        self.options, self.density, self.unit = o, density, unit
        self.resolution, self.size, self.alpha = resolution, resolution, 1.0
        self.mapping = MappingNetwork(z_dim, o.w_dim, o.mapping_layers, o.mapping_rate, 0, generator)
        self.volume: FeatureVolume | None = None
        inputs = 3 * (1 + 2 * o.octaves)
        if o.volume:
            self.volume = FeatureVolume(o.volume_start, o.volume_widths, o.w_dim, generator, fused=o.fused)
            inputs += o.volume_widths[-1]
        self.field_network = ModulatedField(inputs, o.field_width, o.field_depth, o.features, o.w_dim, generator)
        widths = renderer_widths(o, rays, resolution)
        self.renderer = NeuralRenderer(
            o.features, rays, widths, o.w_dim, generator, edge=o.edge, learnt_start=o.learnt_start
        )
        self.layers = o.field_depth + self.renderer.codes

    def grow(self, size: int, alpha: float) -> None:
        """Draw images of ``size`` pixels, whose to-RGB layer counts with ``alpha``."""
        self.size, self.alpha = size, alpha

    def codes(self, z: Tensor, pose: Tensor | None = None) -> Tensor:
        """Codes [N,L,w_dim] of latents [N,z_dim], the same in every layer; no pose is told."""
        return self.mapping(z)[:, None].expand(-1, self.layers, -1)

    def scene(self, codes: Tensor) -> Scene:
        """The scenes of codes [N,L,w_dim]: the volume is evaluated here, once for all views and passes."""
        return Scene(None if self.volume is None else self.volume(codes[:, 0]), codes)

    def field(self, scene: Scene) -> Field:
        """The field of conditioned scenes; view directions are ignored, as in the released forward path."""
        box = self.options.corners

        def field(points: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
            points = points * self.unit
            rows = octave_encoding(points, self.options.octaves)
            if scene.volume is not None:
                rows = torch.cat((sample_volume(scene.volume, points, box), rows), -1)
            return self.field_network(rows, scene.codes)

        return field

    def render(
        self, scene: Scene, cameras: Cameras, resolution: int, how: Rendering, generator: Generator | None = None
    ) -> tuple[Tensor, Tensor | None, FieldView]:
        """Images [N,3,R,R] and, where a renderer follows, the start images [N,3,r,r]; r is ``resolution``.

        While training has not reached R the smaller images are enlarged pixel by pixel. Without a generator nothing is
        jittered and the renderer's noise is the stored one.
        """
        # Features start as an image in [-1,1]; a background is given in [0,1] and lacks all other features.
        how = replace(how, background=tuple(2 * value - 1 for value in how.background))
        view = render_field(self.field(scene), cameras, resolution, how, self.density, generator)
        kind = self.options.noise
        if kind == "random" and generator is None:
            kind = "const"
        codes = scene.codes[:, self.options.field_depth :]
        image = self.renderer(
            view.features, codes, noise=kind, generator=generator, resolution=self.size, alpha=self.alpha
        )
        if self.size < self.resolution:
            image = F.interpolate(image, (self.resolution, self.resolution), mode="nearest")
        return image, view.features[:, :COLOURS] if self.resolution > resolution else None, view


def renderer_widths(o: VolumeOptions, rays: int, resolution: int) -> dict[int, int]:
    """Channels of the renderer by resolution, from twice ``rays`` to the image's: min(base / resolution, max)."""
    sizes = [2**k for k in range(rays.bit_length(), resolution.bit_length())]
    return {size: max(1, min(o.renderer_base // size, o.renderer_max)) for size in sizes}
