"""The generator of HoloGAN (Nguyen-Phuoc et al., ICCV 2019, figure 3): a rotated feature grid between styled layers."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Generator, Tensor, nn

from methods.blocks.adain import StyledNorm
from methods.blocks.convolution import SameConvTranspose, UpsampleConv
from methods.blocks.initial import draw_weights, initialise
from methods.blocks.rotation import object_rotation, rotate, sphere_mask
from methods.hologan.options import Options, Projection

POSE_CODE = 3


def pose_code(azimuth: Tensor, elevation: Tensor) -> Tensor:
    """(sin azimuth, cos azimuth, 2 elevation) [N,3] of angles [N]: target of the pose head, input of a pose style."""
    return torch.stack([azimuth.sin(), azimuth.cos(), 2 * elevation], dim=-1).float()


def merge_depth(volume: Tensor) -> Tensor:
    """[N,C,D,H,W] to [N,D*C,H,W]: channel d*C + c of a pixel is channel c of its d-th depth slice (figure 3)."""
    n, c, d, h, w = volume.shape
    return volume.permute(0, 3, 4, 2, 1).reshape(n, h, w, d * c).permute(0, 3, 1, 2)


class Projection2d(nn.Module):
    """Projection unit (section 3.2): [N,C,D,H,W] to [N,C',H,W] through depth and a pointwise layer with leaky ReLU.

    ``concat_mlp`` sees all depth slices of a pixel at once and so can learn occlusion; ``depth_mean`` and ``depth_max``
    are the ablations that cannot.
    """

    def __init__(self, kind: Projection, channels: int, depth: int, outputs: int, slope: float) -> None:
        super().__init__()
        self.kind = kind
        self.layer = nn.Conv2d(channels * depth if kind == "concat_mlp" else channels, outputs, 1)
        self.activation = nn.LeakyReLU(slope)

    def forward(self, volume: Tensor) -> Tensor:
        if self.kind == "concat_mlp":
            flat = merge_depth(volume)
        elif self.kind == "depth_mean":
            flat = volume.mean(dim=2)
        else:
            flat = volume.amax(dim=2)
        return self.activation(self.layer(flat))


class PlainNorm(nn.Module):
    """Batch norm and leaky ReLU in the place of AdaIN, for the ablation that feeds z to the first layer instead."""

    def __init__(self, dims: int, channels: int, slope: float) -> None:
        super().__init__()
        self.norm = (nn.BatchNorm2d if dims == 2 else nn.BatchNorm3d)(channels)
        self.activation = nn.LeakyReLU(slope)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            return self.activation(self.norm(x.float()))


class HoloGenerator(nn.Module):
    """``forward(shape [N,Z], appearance [N,Z], azimuth [N], elevation [N])`` to images [N,3,R,R] in [-1,1], fp32.

    ``volume``, ``project`` and ``draw`` are its three parts: the first sees only the shape code, the second only
    the pose, the third only the appearance code. Volumes are [N,C,D,H,W]: D is the viewing axis, H the image's rows.
    """

    def __init__(self, options: Options, generator: Generator) -> None:
        super().__init__()
        o = self.options = options
        first, last_3d = o.constant_width, (o.constant_width, *o.widths_3d)[-1]
        if o.z_input == "adain":
            self.constant = nn.Parameter(starting_constant(o, generator))
        else:
            self.first_layer = nn.Linear(o.z_dim, first * 4**3)
        self.norms_3d = nn.ModuleList(self._norm(3, width, o.z_dim) for width in (first, *o.widths_3d))
        self.convs_3d = nn.ModuleList(self._grow(3, a, b) for a, b in pairwise((first, *o.widths_3d)))
        frustum = [last_3d, *[o.frustum_width] * o.frustum_convs]
        # At stride 1 a transposed convolution is a convolution with the kernel flipped; this one is twice as fast.
        self.frustum = nn.ModuleList(nn.Conv3d(a, b, 3, padding=1) for a, b in pairwise(frustum))
        self.frustum_activation = nn.LeakyReLU(o.activation_slope)
        self.projection = Projection2d(o.projection, frustum[-1], o.grid, o.projection_width, o.activation_slope)
        style = o.z_dim + (POSE_CODE if o.pose_input == "vector" else 0)
        self.convs_2d = nn.ModuleList(self._grow(2, a, b) for a, b in pairwise((o.projection_width, *o.widths_2d)))
        self.norms_2d = nn.ModuleList(self._norm(2, width, style) for width in o.widths_2d)
        last = (o.projection_width, *o.widths_2d)[-1]
        self.out = (
            nn.Conv2d(last, 3, 3, padding=1) if o.upsampling == "nearest" else SameConvTranspose(2, last, 3, 4, 1)
        )
        mask = sphere_mask(o.grid, o.mask_radius) if o.mask_radius else torch.ones(())
        self.mask: Tensor
        self.register_buffer("mask", mask, persistent=False)
        self._draw_weights(generator)

    def _grow(self, dims: int, inputs: int, outputs: int) -> nn.Module:
        if self.options.upsampling == "nearest":
            return UpsampleConv(dims, inputs, outputs, folded=self.options.fast)
        return SameConvTranspose(dims, inputs, outputs, 3 if dims == 3 else 4, 2)

    def _norm(self, dims: int, channels: int, style: int) -> nn.Module:
        o = self.options
        if o.z_input == "first_layer":
            return PlainNorm(dims, channels, o.activation_slope)
        return StyledNorm(
            style, channels, activation=o.adain_act, slope=o.activation_slope, eps=o.adain_eps, fused=o.fast
        )

    def _draw_weights(self, generator: Generator) -> None:
        o = self.options
        initialise(self, generator, convolution=o.weights, linear=o.weights, slope=o.activation_slope)
        for norms, deviation in ((self.norms_3d, o.style_std_3d), (self.norms_2d, o.style_std_2d)):
            for norm in norms:
                if isinstance(norm, StyledNorm):
                    with torch.no_grad():
                        norm.mapping.weight.normal_(0.0, deviation, generator=generator)
        for convs, roughness in ((self.convs_3d, o.roughness), (self.convs_2d, o.roughness_2d)):
            for conv in convs:
                if isinstance(conv, UpsampleConv):
                    smooth_kernel(conv.layer.weight, roughness)
        if o.near_bias and o.projection == "concat_mlp":
            self._favour_near()
        if o.weights == "he":
            with torch.no_grad():  # tanh saturates: start at half the scale
                for parameter in self.out.parameters():
                    parameter.mul_(0.5)

    def _favour_near(self) -> None:
        """Let the projection start opaque: weights of depth slice d fall as exp(-near_bias d), their variance kept.

        Near content moves with the commanded azimuth and far content against it; a projection that starts blind to
        depth leaves to chance which of them, or what mixture, becomes the object.
        """
        fall = torch.exp(-self.options.near_bias * torch.arange(self.options.grid))
        fall = fall * torch.rsqrt(fall.square().mean())
        weight = self.projection.layer.weight
        with torch.no_grad():
            weight.mul_(fall.repeat_interleave(weight.shape[1] // len(fall))[:, None, None])

    def volume(self, shape: Tensor) -> Tensor:
        """Canonical feature grid [N,C,G,G,G] of shape codes [N,Z], before any rotation."""
        if self.options.z_input == "adain":
            x = self.constant.expand(len(shape), -1, -1, -1, -1)
        else:
            x = self.first_layer(shape).view(len(shape), -1, 4, 4, 4)
        if self.options.fast:
            x = x.contiguous(memory_format=torch.channels_last_3d)
        x = self.norms_3d[0](x, shape)
        for conv, norm in zip(self.convs_3d, self.norms_3d[1:], strict=True):
            x = norm(conv(x), shape)
        return x

    def project(self, volume: Tensor, azimuth: Tensor, elevation: Tensor) -> Tensor:
        """Image features [N,C',G,G] of a canonical grid seen from (azimuth, elevation) [N]."""
        o = self.options
        x = volume * self.mask
        if o.pose_input == "rotation":
            rotation = object_rotation(azimuth, elevation)
            x = rotate(x, rotation, o.rotation_centre, o.rotation_padding)
        for conv in self.frustum:
            x = self.frustum_activation(conv(x))
        return self.projection(x)

    def draw(self, features: Tensor, appearance: Tensor, azimuth: Tensor, elevation: Tensor) -> Tensor:
        """Images [N,3,R,R] in [-1,1] of image features [N,C',G,G] and appearance codes [N,Z].

        The angles enter only with ``pose_input: vector``, as part of the style vector.
        """
        style = appearance
        if self.options.pose_input == "vector":
            style = torch.cat([appearance, pose_code(azimuth, elevation)], dim=1)
        x = features
        for conv, norm in zip(self.convs_2d, self.norms_2d, strict=True):
            x = norm(conv(x), style)
        return torch.tanh(self.out(x).float())

    def forward(self, shape: Tensor, appearance: Tensor, azimuth: Tensor, elevation: Tensor) -> Tensor:
        features = self.project(self.volume(shape), azimuth, elevation)
        return self.draw(features, appearance, azimuth, elevation)


def smooth_kernel(weight: Tensor, roughness: float) -> None:
    """Blend a fresh kernel [O,I,k,...] towards its own low-pass, in place: ``roughness`` 1 leaves it, 0 keeps none.

    The low-pass replaces every spatial pattern by the binomial bump [1,2,1]^d times the pattern's sum. After nearest
    upsampling it interpolates, while random taps print the voxel parity into the grid: detail at the highest frequency
    survives resampling near an aligned pose only, so that the picture becomes an even function of the angle.
    """
    if roughness == 1:
        return
    axes = tuple(range(2, weight.dim()))
    line = torch.tensor([0.25, 0.5, 0.25])
    bump = torch.ones(())
    for _ in axes:
        bump = bump[..., None] * line
    with torch.no_grad():
        smooth = weight.sum(axes, keepdim=True) * bump
        weight.copy_(smooth * (1 - roughness) + weight * roughness)


def starting_constant(options: Options, generator: Generator) -> Tensor:
    """The learnt constant [1,C,4,4,4] at the start.

    ``noise`` is the paper's N(0, 0.02^2), whose angular detail is finer than the range of poses: several faces may form
    in one grid. ``ramps`` gives every channel a random linear ramp over the grid plus 0.1 N(0, 1).
    """
    size = (1, options.constant_width, 4, 4, 4)
    if options.constant == "noise":
        constant = torch.empty(size)
        draw_weights(constant, "normal", generator, fan_in=1)
        return constant
    line = torch.linspace(-1.3, 1.3, 4)
    axes = torch.stack(torch.meshgrid(options.ramp_depth * line, line, line, indexing="ij"))
    slopes = torch.empty(options.constant_width, 3).normal_(generator=generator)
    ramps = torch.einsum("ca,adhw->cdhw", slopes, axes)
    return ramps[None] + 0.1 * torch.empty(size).normal_(generator=generator)
