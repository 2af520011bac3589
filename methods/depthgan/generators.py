"""The two paths of DepthGAN's generator and their fusion, and the single RGBD generator of the ablation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Generator, Tensor, nn

from methods.blocks.equalised import EqualConv2d, EqualLinear
from methods.blocks.style_mapping import Mapping as StyleMapping
from methods.blocks.style_mixing import mix_styles
from methods.blocks.style_options import num_ws
from methods.blocks.style_synthesis import Synthesis
from methods.depthgan.options import Fusion as FusionKind
from methods.depthgan.options import Options

ANGLE_LAYERS = 3
"""Convolutions that the angle multiplies: those at 4x4 and 8x8."""
HARMONICS = 4


@dataclass(frozen=True)
class Mixing:
    """Style mixing of a batch: ``codes`` [N,Z] are used from layer ``start`` (int64 scalar) on."""

    codes: Tensor
    start: Tensor


@dataclass(frozen=True)
class Rgbd:
    """What a generator draws: ``rgb`` float32 [N,3,R,R] and coded ``depth`` float32 [N,1,R,R], nominally in [-1,1]."""

    rgb: Tensor
    depth: Tensor

    def joined(self) -> Tensor:
        """Both as one tensor [N,4,R,R], depth last, laid out channels-last."""
        return torch.cat((self.rgb, self.depth), dim=1).contiguous(memory_format=torch.channels_last)


@dataclass(frozen=True)
class Geometry:
    """Coded ``depth`` float32 [N,1,R,R] and the ``features`` of its convolution layers, which appearance renders."""

    depth: Tensor
    features: Mapping[int, Tensor]

    def detached(self) -> Geometry:
        """The same without its graph."""
        return Geometry(self.depth.detach(), {index: x.detach() for index, x in self.features.items()})


def angle_features(angle: Tensor) -> Tensor:
    """Sines and cosines of the first four multiples of ``angle`` [N] radians: [N,8], sine before cosine."""
    multiples = angle[:, None] * torch.arange(1, HARMONICS + 1, device=angle.device, dtype=angle.dtype)
    return torch.stack((multiples.sin(), multiples.cos()), dim=-1).flatten(1)


class PosedGenerator(nn.Module):
    """A StyleGAN2 generator without noise, conditioned on a yaw angle; ``channels`` 1 (depth) or 4 (RGBD).

    The embedded angle multiplies the styles of the first convolutions (``mul_w``), of all (``all_layers``), or stands
    beside the latent (``concat_z``); the to-image layers see plain styles.
    """

    def __init__(self, options: Options, resolution: int, generator: Generator, channels: int) -> None:
        super().__init__()
        self.injection = options.angle_injection
        self.num_ws = num_ws(resolution)
        concat = self.injection == "concat_z"
        style = replace(options.style, z_dim=options.z_dim + 2 * HARMONICS) if concat else options.style
        self.mapping = StyleMapping(style, self.num_ws, generator)
        self.angle = None if concat else angle_branch(options, generator)
        self.synthesis = Synthesis(options.style, resolution, generator, image_channels=channels)

    def styles(self, codes: Tensor, angle: Tensor, mixing: Mixing | None = None) -> Tensor:
        """Styles [N,L,W] of latents [N,Z]; only with ``concat_z`` do they depend on the angle [N]."""
        if self.angle is None:
            features = angle_features(angle)
            codes = torch.cat((codes, features), dim=1)
            mixing = Mixing(torch.cat((mixing.codes, features), dim=1), mixing.start) if mixing else None
        return mapped(self.mapping, codes, mixing)

    def draw(self, styles: Tensor, angle: Tensor, *, with_features: bool = True) -> Geometry:
        """The picture [N,channels,R,R] (as ``depth``) and the features of styles [N,L,W] seen from angle [N]."""
        turned = styles
        if self.angle is not None:
            turns = ANGLE_LAYERS if self.injection == "mul_w" else self.num_ws
            code = self.angle(angle_features(angle))[:, None]
            turned = torch.cat((styles[:, :turns] * code, styles[:, turns:]), dim=1)
        made = self.synthesis(turned, image_ws=styles, noise="none", taps="all" if with_features else ())
        return Geometry(made.image, made.taps)

    def forward(
        self, codes: Tensor, angle: Tensor, mixing: Mixing | None = None, *, with_features: bool = True
    ) -> Geometry:
        return self.draw(self.styles(codes, angle, mixing), angle, with_features=with_features)


class AppearanceRenderer(nn.Module):
    """A StyleGAN2 generator without noise that sees geometry's features after every convolution, never the angle."""

    def __init__(self, options: Options, resolution: int, generator: Generator) -> None:
        super().__init__()
        self.mapping = StyleMapping(options.style, num_ws(resolution), generator)
        self.synthesis = Synthesis(options.style, resolution, generator, image_channels=3)
        widths = self.synthesis.layer_channels
        fused = len(widths) if options.fusion_layers == "all" else ANGLE_LAYERS
        kind = options.fusion
        self.fusion = nn.ModuleList(
            Fusion(kind, width, generator) for width in widths[: fused if kind != "none" else 0]
        )

    def draw(self, styles: Tensor, features: Mapping[int, Tensor]) -> Tensor:
        """Images float32 [N,3,R,R] of styles [N,L,W] and the features of a ``Geometry``."""
        return self.synthesis(styles, noise="none", inject=self._injection(features)).image

    def forward(self, codes: Tensor, features: Mapping[int, Tensor], mixing: Mixing | None = None) -> Tensor:
        return self.draw(mapped(self.mapping, codes, mixing), features)

    def _injection(self, features: Mapping[int, Tensor]) -> Callable[[int, Tensor], Tensor]:
        def inject(index: int, x: Tensor) -> Tensor:
            return self.fusion[index](x, features[index]) if index < len(self.fusion) else x

        return inject


class Fusion(nn.Module):
    """Replaces features x [N,C,h,w] of appearance by a mixture with features f of geometry, of the same shape.

    ``concat_1x1``: two 1x1 convolutions of both side by side (the published form, first weights N(0, 0.1^2));
    ``add``: x + f; ``film``: x (1 + a(f)) + b(f) with 1x1 convolutions a, b that start at the same scale.
    """

    def __init__(self, kind: FusionKind, width: int, generator: Generator) -> None:
        super().__init__()
        self.kind = kind
        self.first = self.second = None
        if kind == "concat_1x1":
            self.first = EqualConv2d(2 * width, width, 1, generator, activation="lrelu")
            self.second = EqualConv2d(width, width, 1, generator, activation="linear")
        elif kind == "film":
            self.first = EqualConv2d(width, 2 * width, 1, generator, activation="linear")
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.mul_(0.1)  # the biases are 0

    def forward(self, x: Tensor, f: Tensor) -> Tensor:
        if self.first is None:
            return x + f
        if self.second is None:
            gain, offset = self.first(f).chunk(2, dim=1)
            return x * (1 + gain) + offset
        return self.second(self.first(torch.cat((x, f), dim=1)))


class DualGenerator(nn.Module):
    """Depth and appearance paths; ``forward`` takes latents [N,2,Z]: row 0 geometry, row 1 appearance."""

    def __init__(self, options: Options, resolution: int, generator: Generator) -> None:
        super().__init__()
        self.num_ws = num_ws(resolution)
        self.geometry = PosedGenerator(options, resolution, generator, 1)
        self.appearance = AppearanceRenderer(options, resolution, generator)

    def forward(
        self, codes: Tensor, angle: Tensor, mixing: Mixing | None = None, *, geometry: Geometry | None = None
    ) -> Rgbd:
        """``geometry`` is what ``shape`` returned for these codes and angles [N], if it is known already."""
        made = self.shape(codes, angle) if geometry is None else geometry
        return Rgbd(self.appearance(codes[:, 1], made.features, mixing), made.depth)

    def shape(self, codes: Tensor, angle: Tensor, mixing: Mixing | None = None) -> Geometry:
        """Geometry alone; styles are mixed in the appearance path only."""
        return self.geometry(codes[:, 0], angle)

    @property
    def posed(self) -> PosedGenerator:
        """The part that the angle conditions."""
        return self.geometry

    def styles(self, codes: Tensor, angle: Tensor) -> Tensor:
        """Styles [N,2L,W]: those of geometry, then those of appearance."""
        plain = self.geometry.styles(codes[:, 0], angle), mapped(self.appearance.mapping, codes[:, 1])
        return torch.cat(plain, dim=1)

    def draw(self, styles: Tensor, angle: Tensor) -> Rgbd:
        """The picture of styles [N,2L,W] seen from angle [N]."""
        geometry, appearance = styles.chunk(2, dim=1)
        made = self.geometry.draw(geometry, angle)
        return Rgbd(self.appearance.draw(appearance, made.features), made.depth)

    def mean_style(self) -> Tensor:
        """Running mean [2L,W] of the styles."""
        paths = (self.geometry.mapping.average, self.appearance.mapping.average)
        return torch.cat([mean.expand(self.geometry.num_ws, -1) for mean in paths])


class SingleGenerator(nn.Module):
    """One generator of RGB and depth (the ablation "StyleGAN2 RGBD"); of latents [N,2,Z] it reads row 0 only."""

    def __init__(self, options: Options, resolution: int, generator: Generator) -> None:
        super().__init__()
        self.num_ws = num_ws(resolution)
        self.both = PosedGenerator(options, resolution, generator, 4)

    def forward(
        self, codes: Tensor, angle: Tensor, mixing: Mixing | None = None, *, geometry: Geometry | None = None
    ) -> Rgbd:
        """``geometry`` is ignored: depth and colour are drawn together."""
        return _parted(self.both(codes[:, 0], angle, mixing, with_features=False))

    def shape(self, codes: Tensor, angle: Tensor, mixing: Mixing | None = None) -> Geometry:
        """Depth of the whole picture, without features."""
        return Geometry(self(codes, angle, mixing).depth, {})

    @property
    def posed(self) -> PosedGenerator:
        """The part that the angle conditions: all of it."""
        return self.both

    def styles(self, codes: Tensor, angle: Tensor) -> Tensor:
        """Styles [N,L,W]."""
        return self.both.styles(codes[:, 0], angle)

    def draw(self, styles: Tensor, angle: Tensor) -> Rgbd:
        """The picture of styles [N,L,W] seen from angle [N]."""
        return _parted(self.both.draw(styles, angle, with_features=False))

    def mean_style(self) -> Tensor:
        """Running mean [L,W] of the styles."""
        return self.both.mapping.average.expand(self.both.num_ws, -1)


def mapped(mapping: StyleMapping, codes: Tensor, mixing: Mixing | None = None) -> Tensor:
    """Styles [N,L,W] of latents [N,Z]; in training they move the mapping's running mean, mixed codes do not."""
    styles = mapping(codes, update_average=mapping.training)
    return styles if mixing is None else mix_styles(styles, mapping.style(mixing.codes), mixing.start)


def angle_branch(options: Options, generator: Generator) -> nn.Sequential:
    """Two layers [N,8] -> [N,W] that learn as slowly as the mapping."""

    def layer(inputs: int) -> EqualLinear:
        return EqualLinear(inputs, options.w_dim, generator, rate=options.mapping_rate, activation="lrelu")

    return nn.Sequential(layer(2 * HARMONICS), layer(options.w_dim))


def _parted(made: Geometry) -> Rgbd:
    return Rgbd(made.depth[:, :3], made.depth[:, 3:])
