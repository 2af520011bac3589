"""StyleGAN2's discriminator with a width that moves during training (DynamicD, Yang et al., NeurIPS 2022)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Generator, Tensor, nn

from methods.blocks.dynamic_width import DynamicWidth, WidthOptions
from methods.blocks.style_discriminator import StyleDiscriminator, Thinning
from methods.blocks.style_options import StyleOptions
from methods.blocks.thin_layers import LayerMask


class DynamicDiscriminator(StyleDiscriminator):
    """A StyleDiscriminator that runs at part of its width; it has no parameter or buffer of its own.

    In training mode every forward pass draws its channels as ``width`` says, in evaluation mode it takes the first ones
    at the present ratio. ``width`` None is the plain network.
    """

    def __init__(
        self,
        options: StyleOptions,
        resolution: int,
        generator: Generator,
        image_channels: int = 3,
        classes: int = 0,
        *,
        width: WidthOptions | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(options, resolution, generator, image_channels, classes)
        self.width = None if width is None else DynamicWidth(self.layers, width, seed)

    def set_ratio(self, ratio: float) -> None:
        """Let ``ratio`` in (0, 1] of the channels take part from now on."""
        assert self.width is not None
        self.width.set_ratio(ratio)

    def forward(
        self,
        images: Tensor,
        label: Tensor | None = None,
        *,
        thin: Thinning | None = None,
        masks: Sequence[LayerMask] | None = None,
    ) -> Tensor:
        """Logits fp32 [N]; ``masks`` (one pair per layer of ``layers``) or ``thin`` replace the selection."""
        if self.width is None or thin is not None:
            return super().forward(images, label, thin=thin)
        if masks is not None:
            return super().forward(images, label, thin=self.width.masked(masks))
        if not self.training:
            return super().forward(images, label, thin=self.width.prefix())
        return super().forward(images, label, thin=self.width.draw()) * self.width.logit_scale

    @torch.no_grad()
    def extract_subnet(self, ratio: float) -> StyleDiscriminator:
        """The first ``ratio`` of the channels as a thin network of its own: the same function with fewer weights."""
        options = WidthOptions() if self.width is None else self.width.options
        width = DynamicWidth(self.layers, replace(options, select="prefix", sliced=True), seed=0)
        width.set_ratio(ratio)
        thin = width.prefix()
        raw = None if thin is None else replace(thin, gains=(1.0,) * len(width.layers))
        classes = 0 if self.embedding is None else self.embedding.classes
        made = StyleDiscriminator(
            self.options, self.block_sizes[0], Generator(), image_channels=self.image_channels, classes=classes
        )
        made.load_state_dict(self.state_dict())
        made.to(self.layers[0][1].weight.device)
        for index, (_, layer) in enumerate(made.layers):
            weight, bias = (None, None) if raw is None else raw.weights(index, layer)
            if weight is not None:
                layer.weight = nn.Parameter(weight)
                layer.fan_in, layer.weight_gain = weight[0].numel(), width.gains[index]
            if bias is not None:
                layer.bias = nn.Parameter(bias)
        return made
