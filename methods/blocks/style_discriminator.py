"""The discriminator of StyleGAN2, with the hooks of a dynamic width and of own stems."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Generator, Tensor, nn

from harness.types import ConfigError
from methods.blocks.equalised import EqualConv2d, EqualLinear
from methods.blocks.minibatch_stddev import minibatch_stddev
from methods.blocks.resampling import downsample2
from methods.blocks.style_mapping import MappingNetwork
from methods.blocks.style_options import StyleOptions, channels, resolutions

_HALF = math.sqrt(0.5)


class Thinning(Protocol):
    """The run-time weights of a thinner discriminator."""

    def weights(self, index: int, layer: EqualConv2d | EqualLinear) -> tuple[Tensor | None, Tensor | None]:
        """Scaled weight and bias of the layer at ``index`` of ``layers``; None is the layer's own."""


@dataclass(frozen=True)
class Judged:
    """``logits`` fp32 [N] and, by resolution, the inputs of the blocks asked for."""

    logits: Tensor
    taps: dict[int, Tensor]


class StyleDiscriminator(nn.Module):
    """Images to logits: blocks of R, R/2, ..., 8 pixels, then minibatch deviation, 3x3, two linear layers at 4x4.

    ``options.d_architecture``: ``resnet`` adds a 1x1 downsampling path around each block, ``skip`` adds every block's
    view of the downsampled image, ``orig`` has neither. ``layers`` names all layers but the class embedding in the
    order in which Freeze-D (Mo et al. 2020) freezes them: from_rgb, conv0, conv1, skip, then the same per block, then
    conv, fc, out.
    """

    def __init__(
        self,
        options: StyleOptions,
        resolution: int,
        generator: Generator,
        image_channels: int = 3,
        classes: int = 0,
    ) -> None:
        super().__init__()
        kind = options.d_architecture
        residual = kind == "resnet"
        self.options = options
        self.block_sizes = resolutions(resolution)[:0:-1]
        self.image_channels = image_channels
        named: list[tuple[str, EqualConv2d | EqualLinear]] = []
        lrelu: Literal["lrelu"] = "lrelu"
        for size in self.block_sizes:
            c, narrow = channels(size, options), channels(size // 2, options)
            if size == resolution or kind == "skip":
                named.append((f"b{size}_from_rgb", EqualConv2d(image_channels, c, 1, generator, activation=lrelu)))
            named.append((f"b{size}_conv0", EqualConv2d(c, c, 3, generator, activation=lrelu)))
            conv1 = EqualConv2d(
                c,
                narrow,
                3,
                generator,
                activation=lrelu,
                down=2,
                gain=_HALF if residual else 1.0,
                folded=options.folded,
            )
            named.append((f"b{size}_conv1", conv1))
            if residual:
                skip = EqualConv2d(c, narrow, 1, generator, bias=False, down=2, gain=_HALF)
                named.append((f"b{size}_skip", skip))
        c = channels(4, options)
        if kind == "skip":
            named.append(("b4_from_rgb", EqualConv2d(image_channels, c, 1, generator, activation=lrelu)))
        extra = 1 if options.mbstd_group > 1 else 0
        named.append(("b4_conv", EqualConv2d(c + extra, c, 3, generator, activation=lrelu)))
        named.append(("b4_fc", EqualLinear(c * 16, c, generator, activation=lrelu)))
        named.append(("b4_out", EqualLinear(c, c if classes else 1, generator)))
        self.network = nn.ModuleDict(dict(named))
        self.embedding = MappingNetwork(0, c, 8, options.mapping_rate, classes, generator) if classes else None
        self._index = {name: index for index, (name, _) in enumerate(named)}

    @property
    def layers(self) -> list[tuple[str, EqualConv2d | EqualLinear]]:
        """Names and layers in Freeze-D order."""
        return list(self.network.items())  # type: ignore[arg-type]

    def freeze(self, first: int) -> None:
        """Exclude the first ``first`` layers from training (0: train all)."""
        for index, (_, layer) in enumerate(self.layers):
            layer.requires_grad_(index >= first)

    def forward(
        self,
        images: Tensor,
        label: Tensor | None = None,
        *,
        thin: Thinning | None = None,
    ) -> Tensor:
        """Logits fp32 [N] of ``images`` [N,image_channels,R,R] (and ``label`` int64 [N])."""
        return self.body(self.stem(images, thin), label, thin=thin, images=images).logits

    def stem(self, images: Tensor, thin: Thinning | None = None) -> Tensor:
        """The first from-RGB layer: [N,image_channels,R,R] to [N,C,R,R]."""
        return self._from_image(self.block_sizes[0], images, thin)

    def body(
        self,
        x: Tensor,
        label: Tensor | None = None,
        *,
        thin: Thinning | None = None,
        taps: Sequence[int] = (),
        images: Tensor | None = None,
    ) -> Judged:
        """All behind the stem; ``taps``: resolutions R, R/2, ..., 4 whose block's input is returned.

        ``images`` is needed by the architecture ``skip`` only (ConfigError without).
        """
        by_image = self.options.d_architecture == "skip"
        if by_image and images is None:
            raise ConfigError("the skip discriminator's body needs the images", where="discriminator")
        kept: dict[int, Tensor] = {}
        for size in self.block_sizes:
            if by_image and size != self.block_sizes[0]:
                x = x + self._from_image(size, images, thin)
            if size in taps:
                kept[size] = x
            around = self._run(f"b{size}_skip", x, thin) if f"b{size}_skip" in self._index else None
            x = self._run(f"b{size}_conv1", self._run(f"b{size}_conv0", x, thin), thin)
            x = x if around is None else around + x
            images = downsample2(images) if by_image and images is not None else None
        if by_image:
            x = x + self._from_image(4, images, thin)
        if 4 in taps:
            kept[4] = x
        with torch.autocast(x.device.type, enabled=False):
            return Judged(self._epilogue(x.float(), label, thin), kept)

    def _epilogue(self, x: Tensor, label: Tensor | None, thin: Thinning | None) -> Tensor:
        if self.options.mbstd_group > 1:
            x = minibatch_stddev(x, self.options.mbstd_group, channels(4, self.options))
        x = self._run("b4_conv", x, thin)
        x = self._run("b4_out", self._run("b4_fc", x.flatten(1), thin), thin)
        if self.embedding is None:
            return x.squeeze(1)
        code = self.embedding(None, label)
        return (x * code).sum(1) / math.sqrt(code.shape[1])

    def _from_image(self, size: int, images: Tensor | None, thin: Thinning | None) -> Tensor:
        assert images is not None
        # A 1x1 kernel has no layout of its own: without this the maps would take that of the images.
        if self._layer(f"b{self.block_sizes[0]}_conv0").weight.is_contiguous(memory_format=torch.channels_last):
            images = images.contiguous(memory_format=torch.channels_last)
        return self._run(f"b{size}_from_rgb", images, thin)

    def _run(self, name: str, x: Tensor, thin: Thinning | None) -> Tensor:
        layer = self._layer(name)
        if thin is None:
            return layer(x)
        weight, bias = thin.weights(self._index[name], layer)
        return layer(x, weight, bias)

    def _layer(self, name: str) -> EqualConv2d | EqualLinear:
        return self.network[name]  # type: ignore[return-value]
