"""A StyleGAN2 generator: mapping and synthesis."""

from __future__ import annotations

from torch import Generator, Tensor, nn

from methods.blocks.style_mapping import Mapping
from methods.blocks.style_options import NoiseKind, StyleOptions, num_ws
from methods.blocks.style_synthesis import Synthesis


class StyleGenerator(nn.Module):
    """Latents [N,z_dim] (and a class) to images; its parts ``mapping`` and ``synthesis`` are open to be used alone."""

    def __init__(
        self,
        options: StyleOptions,
        resolution: int,
        generator: Generator,
        image_channels: int = 3,
        classes: int = 0,
    ) -> None:
        super().__init__()
        self.num_ws = num_ws(resolution)
        self.mapping = Mapping(options, self.num_ws, generator, classes)
        self.synthesis = Synthesis(options, resolution, generator, image_channels)

    def forward(
        self,
        z: Tensor,
        label: Tensor | None = None,
        *,
        truncation: float = 1.0,
        noise: NoiseKind | None = None,
        generator: Generator | None = None,
    ) -> Tensor:
        """Images [N,image_channels,R,R] in fp32, not clamped; ``noise`` and ``generator`` as in ``Synthesis``."""
        ws = self.mapping(z, label, truncation=truncation)
        return self.synthesis(ws, noise=noise, generator=generator).image
