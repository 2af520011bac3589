"""The synthesis network of StyleGAN2: style codes to an image, with access to every layer."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, cast

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from harness.types import ConfigError
from methods.blocks.equalised import SLOPE, EqualConv2d, EqualLinear
from methods.blocks.modulation import modulated_conv
from methods.blocks.resampling import upsample2
from methods.blocks.style_options import NoiseKind, StyleOptions, channels, num_ws, resolutions

Inject = Callable[[int, Tensor], Tensor]
NoiseSource = NoiseKind | Sequence[Tensor] | None
_SQRT2 = math.sqrt(2.0)


@dataclass(frozen=True)
class Synthesised:
    """``image`` fp32 [N,C,R,R], not clamped, and the maps asked for, by number of their convolution layer."""

    image: Tensor
    taps: dict[int, Tensor]


class StyleLayer(nn.Module):
    """Modulated 3x3 convolution (``up`` 1 or 2), noise, bias and lrelu; ``gain`` multiplies the result."""

    noise: Tensor

    def __init__(
        self,
        inputs: int,
        outputs: int,
        size: int,
        options: StyleOptions,
        generator: Generator,
        *,
        up: Literal[1, 2],
        gain: float = 1.0,
    ) -> None:
        super().__init__()
        self.affine = EqualLinear(options.w_dim, inputs, generator, bias_start=1.0)
        self.weight = nn.Parameter(torch.randn(outputs, inputs, 3, 3, generator=generator))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.strength = nn.Parameter(torch.zeros(()))
        self.register_buffer("noise", torch.randn(size, size, generator=generator))
        self.options = options
        self.up = up
        self.gain = gain * _SQRT2
        # Demodulation cancels every factor of the weight; without it the equalised gain takes its place.
        self.weight_gain = 1.0 if options.demodulate else 1.0 / math.sqrt(inputs * 9)

    def style(self, w: Tensor) -> Tensor:
        """Styles [N,inputs] of the codes [N,w_dim]."""
        return self.affine(w)

    def forward(self, x: Tensor, style: Tensor, noise: Tensor | None, border: Tensor | None = None) -> Tensor:
        """[N,inputs,H,W] to [N,outputs,up H,up W]; ``noise`` broadcasts to [N,1,up H,up W]."""
        options = self.options
        y = modulated_conv(
            x,
            self.weight,
            style if options.demodulate else style * self.weight_gain,
            demodulate=options.demodulate,
            up=self.up,
            modulation=options.modulation,
            folded=options.folded,
            border=border,
            gain=self.gain,
            shift=(self.bias * self.gain).view(1, -1, 1, 1),
        )
        if noise is not None:
            y = y + (noise * (self.strength * self.gain)).to(y.dtype)
        return F.leaky_relu_(y, SLOPE)

    def before_noise(self, x: Tensor, style: Tensor, border: Tensor | None = None) -> Tensor:
        """The activation that the layer would have without noise."""
        return self(x, style, None, border)


class ToImage(nn.Module):
    """Modulated 1x1 convolution without demodulation: [N,C,H,W] to fp32 [N,image_channels,H,W]."""

    def __init__(self, inputs: int, outputs: int, w_dim: int, generator: Generator) -> None:
        super().__init__()
        self.affine = EqualLinear(w_dim, inputs, generator, bias_start=1.0)
        self.weight = nn.Parameter(torch.randn(outputs, inputs, 1, 1, generator=generator))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.weight_gain = 1.0 / math.sqrt(inputs)

    def style(self, w: Tensor) -> Tensor:
        """Styles [N,inputs] of the codes [N,w_dim], with the weight's gain."""
        return self.affine(w) * self.weight_gain

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        """``x`` [N,inputs,H,W], ``style`` [N,inputs]."""
        # A 1x1 kernel per sample is a product of matrices: cheaper than scaling the whole map.
        # Pixels are rows: of a channels-last map that is a view, and the gradient comes back channels-last too.
        kernels = self.weight.flatten(1) * style[:, None, :]
        rows = x.permute(0, 2, 3, 1).flatten(1, 2)
        y = torch.bmm(rows, kernels.to(x.dtype).transpose(1, 2)).float() + self.bias
        return y.unflatten(1, x.shape[2:]).permute(0, 3, 1, 2)


class Synthesis(nn.Module):
    """Blocks of 4, 8, ..., R pixels; convolution layers are numbered 0 (4x4), 1 (up to 8), 2 (8), ... num_ws - 2.

    ``options.g_architecture``: ``skip`` sums the upsampled images of all blocks, ``resnet`` adds a 1x1 upsampling path
    around each block, ``orig`` has neither; the last two have one to-image layer. ``layer_channels`` and
    ``layer_sizes`` describe the output of each convolution layer.
    """

    def __init__(self, options: StyleOptions, resolution: int, generator: Generator, image_channels: int = 3) -> None:
        super().__init__()
        sizes = resolutions(resolution)
        residual = options.g_architecture == "resnet"
        gain = math.sqrt(0.5) if residual else 1.0
        self.options = options
        self.num_ws = num_ws(resolution)
        self.layer_sizes = [sizes[(index + 1) // 2] for index in range(self.num_ws - 1)]
        self.layer_channels = [channels(size, options) for size in self.layer_sizes]
        self.constant = nn.Parameter(torch.randn(1, self.layer_channels[0], 4, 4, generator=generator))
        self.layers = nn.ModuleList()
        self.skips = nn.ModuleList()
        self.to_images = nn.ModuleList()
        inputs = self.layer_channels[0]
        for index, (outputs, size) in enumerate(zip(self.layer_channels, self.layer_sizes, strict=True)):
            up: Literal[1, 2] = 2 if index % 2 else 1
            scale = gain if index and up == 1 else 1.0
            if residual and up == 2:
                skip = EqualConv2d(inputs, outputs, 1, generator, bias=False, up=2, gain=gain)
                self.skips.append(skip)
            self.layers.append(StyleLayer(inputs, outputs, size, options, generator, up=up, gain=scale))
            if up == 1 and (options.g_architecture == "skip" or size == resolution):
                self.to_images.append(ToImage(outputs, image_channels, options.w_dim, generator))
            inputs = outputs

    def styles(self, ws: Tensor, image_ws: Tensor | None = None) -> list[Tensor]:
        """StyleSpace of ``ws`` [N,num_ws,w_dim]: fp32 [N,inputs] per convolution layer, then per to-image layer.

        Convolution i takes code i; the to-image layer of a block takes the code of the next block's first convolution,
        from ``image_ws`` where given.
        """
        with torch.autocast(ws.device.type, enabled=False):
            ws = ws.float()
            image_ws = ws if image_ws is None else image_ws.float()
            styles = [layer.style(ws[:, index]) for index, layer in enumerate(self._convolutions())]
            first = self.num_ws + 1 - 2 * len(self.to_images)
            for block, layer in enumerate(self.to_images):
                styles.append(cast(ToImage, layer).style(image_ws[:, first + 2 * block]))
            return styles

    def _convolutions(self) -> list[StyleLayer]:
        return list(self.layers)  # type: ignore[arg-type]

    def forward(
        self,
        ws: Tensor | None = None,
        *,
        image_ws: Tensor | None = None,
        noise: NoiseSource = None,
        generator: Generator | None = None,
        taps: Sequence[int] | Literal["all"] = (),
        taps_before_noise: bool = False,
        inject: Inject | None = None,
        borders: Mapping[int, Tensor] | None = None,
        styles: Sequence[Tensor] | None = None,
    ) -> Synthesised:
        """Synthesise from ``ws`` [N,num_ws,w_dim], or from ``styles`` as ``styles()`` returns them.

        ``noise``: None is the options' kind; ``random`` maps are drawn from ``generator``; a sequence gives one map per
        convolution layer, broadcasting to [N,1,H,W]. ``taps``: layers whose activations are returned
        (``taps_before_noise``: as they would be without this layer's noise). ``inject(index, x)`` replaces each layer's
        activation. ``borders`` (PadInv): entry 0 replaces the constant, entry i + 1 the zero padding of layer i (see
        ``modulated_conv``). Raises ConfigError for a missing generator or a wrong number of styles or maps.
        """
        if styles is None:
            if ws is None:
                raise ConfigError("needs either ws or styles", where="synthesis")
            styles = self.styles(ws, image_ws)
        elif len(styles) != len(self.layers) + len(self.to_images):
            raise ConfigError(
                f"{len(styles)} styles for {len(self.layers) + len(self.to_images)} layers", where="synthesis"
            )
        n = styles[0].shape[0]
        maps = self._noise(self.options.noise if noise is None else noise, n, generator)
        wanted = range(len(self.layers)) if taps == "all" else taps
        kept: dict[int, Tensor] = {}
        image: Tensor | None = None
        x = self._start(n, None if borders is None else borders.get(0))
        residual: Tensor | None = None
        for index, layer in enumerate(self._convolutions()):
            border = None if borders is None else borders.get(index + 1)
            if index % 2 and self.skips:
                residual = self.skips[index // 2](x)
            if taps_before_noise and index in wanted:
                kept[index] = layer.before_noise(x, styles[index], border)
            x = layer(x, styles[index], maps[index], border)
            if inject is not None:
                x = inject(index, x)
            if index in wanted and not taps_before_noise:
                kept[index] = x
            if index % 2:
                continue
            if residual is not None:
                x = residual + x
            block = index // 2 - (len(self.layers) + 1) // 2 + len(self.to_images)
            if block >= 0:
                part = self.to_images[block](x, styles[len(self.layers) + block])
                image = part if image is None else upsample2(image) + part
        assert image is not None
        return Synthesised(image, kept)

    def _start(self, n: int, replaced: Tensor | None) -> Tensor:
        if replaced is None:
            return self.constant
        top, left = (replaced.shape[2] - 4) // 2, (replaced.shape[3] - 4) // 2
        return replaced[:, :, top : top + 4, left : left + 4].expand(n, -1, -1, -1)

    def _noise(
        self, noise: NoiseKind | Sequence[Tensor], n: int, generator: Generator | None
    ) -> Sequence[Tensor | None]:
        if noise == "none":
            return [None] * len(self.layers)
        if noise == "const":
            return [layer.noise for layer in self._convolutions()]
        if noise == "random":
            if generator is None:
                raise ConfigError("random noise needs a generator", where="synthesis")
            counts = [size * size for size in self.layer_sizes]
            drawn = torch.randn(n * sum(counts), generator=generator, device=generator.device)
            parts = drawn.to(self.constant.device).split([n * count for count in counts])
            return [part.view(n, 1, size, size) for part, size in zip(parts, self.layer_sizes, strict=True)]
        if len(noise) != len(self.layers):
            raise ConfigError(f"{len(noise)} noise maps for {len(self.layers)} layers", where="synthesis")
        return noise
