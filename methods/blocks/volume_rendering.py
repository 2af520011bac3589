"""Volume rendering along camera rays: sample placement and quadrature (Max 1995; NeRF, Mildenhall et al. 2020, 5.2).

Positions along a ray are z-depths; the length of a ray per unit of z-depth is passed as ``stretch``. Everything runs in
float32 or better, whatever the precision of the field.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

INFINITE = 1e10  # length of the last interval in pi-GAN: whatever is dense there becomes a background plane
EMPTY = 1e-6  # below this opacity a ray has no depth


@dataclass(frozen=True)
class Quadrature:
    """How densities become weights.

    ``rule``: ``left`` takes each sample for the interval that starts at it; ``midpoint`` averages colours, raw
    densities and depths of neighbouring samples first (S - 1 intervals, EG3D). ``activation`` of the raw density:
    ``relu``, ``softplus`` or ``softplus_minus_1``. ``last_interval`` (left rule): ``infinite`` or ``finite`` (as long
    as the one before). ``last_back`` gives the last sample the light that nothing absorbed.
    """

    rule: str = "left"
    activation: str = "relu"
    last_interval: str = "infinite"
    last_back: bool = False

    def __post_init__(self) -> None:
        allowed = {
            "rule": ("left", "midpoint"),
            "activation": ("relu", "softplus", "softplus_minus_1"),
            "last_interval": ("infinite", "finite"),
        }
        for key, values in allowed.items():
            if getattr(self, key) not in values:
                raise ValueError(f"{key} must be one of {', '.join(values)}, got {getattr(self, key)!r}")


@dataclass(frozen=True)
class Composite:
    """One rendered set of rays: ``colour`` [...,C]; ``depth`` [...], the expected z-depth NOT divided by ``opacity``
    [...]; ``weights`` [...,S] (S - 1 for the midpoint rule) at depths ``z``."""

    colour: Tensor
    depth: Tensor
    opacity: Tensor
    weights: Tensor
    z: Tensor

    def surface(self, empty: float) -> Tensor:
        """Depth divided by opacity, ``empty`` where a ray hits nothing (EG3D: the farthest sample of the batch).

        Between the first and the last sample of its ray, so that it needs no further clamp.
        """
        return torch.where(self.opacity > EMPTY, self.depth / self.opacity.clamp_min(EMPTY), empty)


def activate(raw: Tensor, activation: str) -> Tensor:
    """Non-negative density from a raw network output."""
    if activation == "relu":
        return F.relu(raw)
    return F.softplus(raw - 1 if activation == "softplus_minus_1" else raw)


def stratified(
    near: float,
    far: float,
    samples: int,
    rays: int,
    generator: torch.Generator | None = None,
    device: torch.device | None = None,
) -> Tensor:
    """Sample depths [rays, samples]: evenly spaced, both ends included, each moved by up to half a spacing.

    Without a generator nothing is moved. The draw happens on the generator's device. A moved end sample may leave
    [near, far] by half a spacing; the order along the ray is kept (pi-GAN). Raises ValueError for fewer than two
    samples or an empty range.
    """
    if samples < 2 or not near < far:
        raise ValueError(f"cannot place {samples} samples in [{near}, {far}]")
    z = torch.linspace(near, far, samples, device=device).expand(rays, samples)
    if generator is None:
        return z
    jitter = torch.rand(rays, samples, generator=generator, device=generator.device).to(z.device) - 0.5
    return z + jitter * ((far - near) / (samples - 1))


def quantiles(shape: tuple[int, ...], generator: torch.Generator | None, device: torch.device) -> Tensor:
    """Numbers in [0,1] of ``shape`` [...,samples]: drawn on the generator's device, evenly spaced without one."""
    if generator is None:
        return torch.linspace(0, 1, shape[-1], device=device).expand(shape).contiguous()
    return torch.rand(shape, generator=generator, device=generator.device).to(device)


def importance(
    z: Tensor,
    weights: Tensor,
    samples: int,
    generator: torch.Generator | None = None,
    u: Tensor | None = None,
) -> Tensor:
    """Depths [...,samples] drawn from the piecewise constant density that ``weights`` [...,S] at ``z`` [...,S] define.

    Bins lie between the mid-points of neighbouring depths, so the first and last weight are not used; 1e-5 is added
    twice against empty rays. ``u`` [...,samples] are quantiles drawn before; else without a generator they are evenly
    spaced. No gradient flows (pi-GAN, as NeRF). Depths are ascending only where the quantiles are; raises ValueError
    for fewer than three coarse samples.
    """
    if z.shape[-1] < 3:
        raise ValueError(f"importance sampling needs at least 3 coarse samples, got {z.shape[-1]}")
    with torch.no_grad():
        edges = 0.5 * (z[..., 1:] + z[..., :-1]).float()
        mass = (weights.float() + 1e-5)[..., 1:-1] + 1e-5
        pdf = mass / mass.sum(-1, keepdim=True)
        cdf = F.pad(pdf.cumsum(-1), (1, 0))
        u = quantiles((*cdf.shape[:-1], samples), generator, z.device) if u is None else u.contiguous()
        above = torch.searchsorted(cdf.contiguous(), u, right=True).clamp(1, cdf.shape[-1] - 1)
        low, high = cdf.gather(-1, above - 1), cdf.gather(-1, above)
        step = high - low
        share = (u - low) / torch.where(step < 1e-5, torch.ones_like(step), step)
        start, end = edges.gather(-1, above - 1), edges.gather(-1, above)
        return start + share.clamp(0, 1) * (end - start)


def smoothed(weights: Tensor) -> Tensor:
    """Mid-point weights [...,S] blurred before importance sampling: no interval beside a surface stays without samples.

    The larger of each two neighbours (nothing beyond the ends), then the mean of each two of these, plus 0.01 (EG3D).
    """
    padded = F.pad(weights.float(), (1, 1))
    larger = torch.maximum(padded[..., 1:], padded[..., :-1])
    return 0.5 * (larger[..., 1:] + larger[..., :-1]) + 0.01


def merge(z: tuple[Tensor, Tensor], values: tuple[tuple[Tensor, Tensor], ...]) -> tuple[Tensor, ...]:
    """Join two sets of samples in order of depth: ``z`` two tensors [...,S], ``values`` pairs [...,S] or [...,S,C]."""
    depth, order = torch.cat(z, -1).sort(-1)
    joined = [depth]
    for first, second in values:
        if first.ndim == depth.ndim:
            joined.append(torch.cat((first, second), -1).gather(-1, order))
        else:
            both = torch.cat((first, second), -2)
            joined.append(both.gather(-2, order[..., None].expand(both.shape)))
    return tuple(joined)


def intervals(z: Tensor, last_interval: str) -> Tensor:
    """Lengths [...,S] of the intervals that start at ascending depths ``z`` [...,S]."""
    delta = z[..., 1:] - z[..., :-1]
    last = torch.full_like(delta[..., :1], INFINITE) if last_interval == "infinite" else delta[..., -1:]
    return torch.cat((delta, last), -1)


def absorb(optical: Tensor) -> Tensor:
    """Weights [...,S] of intervals of optical thickness t [...,S]: w_i = exp(-sum_{j<i} t_j)(1 - exp(-t_i)).

    The exponential form is exact for piecewise constant densities and needs no epsilon in the transmittance.
    """
    before = F.pad(optical[..., :-1].cumsum(-1), (1, 0))
    return torch.exp(-before) * -torch.expm1(-optical)


def composite(
    z: Tensor,
    raw: Tensor,
    colour: Tensor,
    quadrature: Quadrature,
    *,
    gain: float = 1.0,
    stretch: Tensor | float = 1.0,
    inside: Tensor | None = None,
    background: Tensor | None = None,
) -> Composite:
    """Render rays: ``z`` [...,S] ascending depths, ``raw`` [...,S] densities before activation, ``colour`` [...,S,C].

    Density is gain * activation(raw), zero where ``inside`` [...,S] is False; ``stretch`` [...,1] is the ray length
    per unit of z. ``background`` [C] or [...,C] fills what nothing absorbed (white_back = ones). ``last_back`` goes
    first, so that with it nothing is left for the background.
    """
    z, raw, colour = z.float(), raw.float(), colour.float()
    keep = None if inside is None else inside.to(raw.dtype)
    if quadrature.rule == "midpoint":
        delta = z[..., 1:] - z[..., :-1]
        z, raw = 0.5 * (z[..., 1:] + z[..., :-1]), 0.5 * (raw[..., 1:] + raw[..., :-1])
        colour = 0.5 * (colour[..., 1:, :] + colour[..., :-1, :])
        keep = None if keep is None else keep[..., 1:] * keep[..., :-1]
    else:
        delta = intervals(z, quadrature.last_interval)
    density = activate(raw, quadrature.activation) * gain
    if keep is not None:
        density = density * keep
    weights = absorb(density * (delta * stretch))
    opacity = weights.sum(-1)
    if quadrature.last_back:
        rest = (1 - opacity)[..., None]
        weights = torch.cat((weights[..., :-1], weights[..., -1:] + rest), -1)
        opacity = weights.sum(-1)
    rgb = (weights[..., None] * colour).sum(-2)
    if background is not None:
        rgb = rgb + (1 - opacity)[..., None] * background
    return Composite(rgb, (weights * z).sum(-1), opacity, weights, z)


def median_depth(view: Composite, empty: float) -> Tensor:
    """The depth [...] of the first sample at which half the opacity is reached, ``empty`` where a ray hits nothing.

    No gradient flows.
    """
    with torch.no_grad():
        reached = view.weights.cumsum(-1) >= 0.5 * view.opacity[..., None]
        first = reached.to(torch.uint8).argmax(-1, keepdim=True)
        return torch.where(view.opacity > EMPTY, view.z.gather(-1, first).squeeze(-1), empty)
