"""Inversion: the code of a radiance field that shows a real object at a known pose (GeoD, claim D6).

Recipe of pi-GAN's inversion (Chan et al. 2021, section 4.3: Adam on offsets from the mean conditioning, plain squared
error, decaying noise and rate), shortened; offsets count in standard deviations of the codes, so that one rate suits
the conditioning of every base.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from harness.cameras import look_at, select
from harness.types import Cameras, Context, Generates, PosePrior, RadianceField
from suites.protocols.generation.meshes import densities
from suites.protocols.generation.sampling import Arrays, bytes_of, geometry_of
from suites.protocols.generation.sheet import channels_first
from suites.protocols.generation.sizes import Sizes, inverted

RATE, LAST_RATE = 0.05, 0.2
"""Adam's step in standard deviations of the codes, and the share of it that is left at the end."""
NOISE = 0.1
"""Deviation of the noise on the offsets at the first step; it falls to 0 on a straight line."""
PULL = 1e-4
"""Weight of the mean squared offset beside the mean squared error of pixels in [-1,1]."""
SPREAD_LATENTS, SPREAD_SEED, NOISE_SEED = 256, 20_22_09637, 6
AT_ONCE = 8


def invert(
    model: RadianceField, truth: Mapping[str, NDArray], prior: PosePrior, wanted: Sizes, context: Context
) -> Arrays:
    """Fit the given view 0 of every object of ``truth`` (see ``exact.exact_targets``), then render all its views.

    ``inv_views`` uint8 [K,V,H,W,3], ``inv_depth`` float32 and ``inv_mask`` uint8 [K,V,H,W] where there is a depth, and
    ``inv_density`` float16 [K,r,r,r] of the fitted codes. No randomness beside that of its own seeds.
    """
    given = channels_first(truth["inv_truth"][:, 0]).to(context.device).float() / 127.5 - 1
    azimuths = torch.from_numpy(inverted(prior)).to(context.device)
    cameras = look_at(azimuths, torch.full_like(azimuths, prior.elevation[0]), prior)
    first = select(cameras, torch.zeros(len(given), dtype=torch.long, device=context.device))
    spread = code_spread(model, context)
    parts = torch.arange(len(given), device=context.device).split(AT_ONCE)
    fitted = [fit(model, given[rows], select(first, rows), spread, wanted.inversion_steps) for rows in parts]
    codes = torch.cat(fitted)
    return _seen(model, codes, cameras) | {"inv_density": densities(model, codes, wanted.grid)}


def fit(model: RadianceField, given: Tensor, cameras: Cameras, spread: Tensor, steps: int) -> Tensor:
    """Codes [N,...] whose renders at ``cameras`` come near to images [N,3,H,W] in [-1,1]; objects do not interact."""
    generator = torch.Generator(given.device).manual_seed(NOISE_SEED)
    start = model.mean_code().detach()
    offset = torch.zeros(len(given), *start.shape, device=given.device, requires_grad=True)
    adam = torch.optim.Adam([offset], lr=RATE)
    for step in range(steps):
        done = step / steps
        for group in adam.param_groups:
            group["lr"] = RATE * LAST_RATE**done
        noise = torch.randn(offset.shape, generator=generator, device=given.device) * (NOISE * (1 - done))
        rgb = model.render_codes(start + spread * (offset + noise), cameras).rgb.float()
        error = (rgb - given).square().flatten(1).mean(1) + PULL * offset.square().flatten(1).mean(1)
        (offset.grad,) = torch.autograd.grad(error.sum(), [offset])
        adam.step()
    return (start + spread * offset).detach()


@torch.no_grad()
def code_spread(model: RadianceField, context: Context) -> Tensor:
    """Standard deviation [...] of every entry of the codes over latents of the prior."""
    assert isinstance(model, Generates)
    generator = torch.Generator(device=context.device).manual_seed(SPREAD_SEED)
    return model.codes(model.latents(SPREAD_LATENTS, generator)).std(0)


@torch.no_grad()
def _seen(model: RadianceField, codes: Tensor, cameras: Cameras) -> Arrays:
    columns: dict[str, list[NDArray]] = {"inv_views": [], "inv_depth": [], "inv_mask": []}
    for view in range(len(cameras)):
        renders = model.render_codes(codes, select(cameras, [view] * len(codes)))
        columns["inv_views"].append(bytes_of(renders))
        if renders.depth is not None:
            depth, mask = geometry_of(renders)
            columns["inv_depth"].append(depth)
            columns["inv_mask"].append(mask)
    return {name: np.stack(parts, axis=1) for name, parts in columns.items() if parts}
