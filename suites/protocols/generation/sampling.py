"""What a trained generator is asked for: prior samples, sweeps of the pose, neighbouring views, latent swaps."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from harness.cameras import look_at, select
from harness.metrics.resize import to_uint8
from harness.types import Cameras, Context, Generates, HasStyles, PosePrior, Renders
from suites.protocols.generation.sizes import Sizes, neighbours, sweep, tilt

BATCH = 64
TURNED = 4
"""Objects of the sweep whose depth is kept, for pictures."""
PSI = 0.7
INTERPOLATIONS, STEPS = 6, 9
Arrays = dict[str, NDArray]


def draw(model: Generates, prior: PosePrior | None, wanted: Sizes, context: Context) -> Arrays:
    """Everything that is scored, as arrays [.,H,W,3] uint8, depth float32 and opacity uint8 (255 = opaque).

    ``images`` [n] at poses from the prior with ``pose`` [n,2] (azimuth, elevation), ``depth`` and ``mask`` of the first
    ones; ``sweep`` [K,P] and ``tilt`` [K/2,E]: the same K objects at commanded azimuths and elevations; ``sweep_depth``
    and ``sweep_mask`` of the first of them; ``views`` [K,V]
    with ``views_depth`` and ``views_mask``; ``swap`` [3,S]: objects, the same with the shape latent of the next object,
    with its appearance latent; ``truncated`` [T]: the first images at psi = 0.7 and ``interpolation`` [I,9]: between
    pairs of them. Arrays that a model cannot give (no prior, no depth, no latent of two parts, no styles) are absent.
    """
    generator = context.generator
    cameras = None if prior is None else context.sample_cameras(wanted.n, generator)
    latents = model.latents(wanted.n, generator)
    arrays = _prior_samples(model, latents, cameras, wanted.geometry)
    if isinstance(model, HasStyles):
        arrays |= _styled(model, latents[: wanted.latents], cameras)
    if prior is None:
        return arrays
    objects = model.latents(wanted.latents, generator)
    azimuths, tilts = sweep(prior, wanted.azimuths), tilt(prior, wanted.tilts)
    arrays |= {"sweep_azimuth": azimuths, "tilt_elevation": tilts}
    swept = _at_poses(model, objects, azimuths, prior, context)
    arrays["sweep"] = swept["rgb"]
    if "depth" in swept:
        arrays |= {f"sweep_{name}": swept[name][:TURNED] for name in ("depth", "mask")}
    half = objects[: max(1, len(objects) // 2)]
    arrays["tilt"] = _at_poses(model, half, tilts, prior, context, elevation=True)["rgb"]
    if "depth" in arrays:
        views = _at_poses(model, objects, neighbours(prior, wanted.views), prior, context)
        arrays |= {"views": views["rgb"], "views_depth": views["depth"], "views_mask": views["mask"]}
    if objects.ndim == 3 and objects.shape[1] == 2:
        arrays["swap"] = _swapped(model, objects[: wanted.swaps], prior, context)
    return arrays


def _prior_samples(model: Generates, latents: Tensor, cameras: Cameras | None, with_depth: int) -> Arrays:
    pictures, depths, masks = [], [], []
    for index in _batches(len(latents)):
        renders = model.sample(latents[index], None if cameras is None else select(cameras, index))
        pictures.append(bytes_of(renders))
        if renders.depth is not None and index.start < with_depth:
            depth, mask = geometry_of(renders)
            depths.append(depth)
            masks.append(mask)
    arrays = {"images": np.concatenate(pictures)}
    if cameras is not None:
        arrays["pose"] = torch.stack([cameras.azimuth, cameras.elevation], dim=1).cpu().numpy()
    if depths:
        arrays |= {"depth": np.concatenate(depths)[:with_depth], "mask": np.concatenate(masks)[:with_depth]}
    return arrays


def _at_poses(
    model: Generates,
    objects: Tensor,
    angles: NDArray,
    prior: PosePrior,
    context: Context,
    *,
    elevation: bool = False,
) -> Arrays:
    """Every object at every angle: arrays [K,P,...]; the other angle stays at the prior's centre."""
    count, poses = len(objects), len(angles)
    moving = torch.from_numpy(angles).to(context.device).repeat(count)
    azimuth = torch.full_like(moving, prior.azimuth[0]) if elevation else moving
    height = moving if elevation else torch.full_like(moving, prior.elevation[0])
    cameras = look_at(azimuth, height, prior)
    owner = torch.arange(count, device=context.device).repeat_interleave(poses)
    parts: dict[str, list[NDArray]] = {"rgb": [], "depth": [], "mask": []}
    for index in _batches(count * poses):
        renders = model.sample(objects[owner[index]], select(cameras, index))
        parts["rgb"].append(bytes_of(renders))
        if renders.depth is not None:
            depth, mask = geometry_of(renders)
            parts["depth"].append(depth)
            parts["mask"].append(mask)
    joined = {name: np.concatenate(chunks) for name, chunks in parts.items() if chunks}
    return {name: array.reshape(count, poses, *array.shape[1:]) for name, array in joined.items()}


def _swapped(model: Generates, objects: Tensor, prior: PosePrior, context: Context) -> NDArray:
    """Objects, the same with the next one's part 0 (shape), with its part 1 (appearance): uint8 [3,S,H,W,3]."""
    other = objects.roll(-1, dims=0)
    shape, appearance = objects.clone(), objects.clone()
    shape[:, 0], appearance[:, 1] = other[:, 0], other[:, 1]
    centre = np.asarray([prior.azimuth[0]], np.float32)
    kinds = (objects, shape, appearance)
    return np.stack([_at_poses(model, kind, centre, prior, context)["rgb"][:, 0] for kind in kinds])


@torch.no_grad()
def _styled(model: HasStyles, latents: Tensor, cameras: Cameras | None) -> Arrays:
    """The same images with styles truncated to ``PSI``, and straight lines in the space of styles."""
    styles, mean = model.styles(latents), model.mean_style()
    seen = None if cameras is None else select(cameras, slice(0, len(latents)))
    truncated = bytes_of(model.render_styles(torch.lerp(mean, styles, PSI), seen))
    pairs = min(INTERPOLATIONS, len(latents) // 2)
    first, last = styles[:pairs], styles[pairs : 2 * pairs]
    line = torch.stack([torch.lerp(first, last, k / (STEPS - 1)) for k in range(STEPS)], dim=1)
    poses = None if cameras is None else select(cameras, torch.arange(pairs).repeat_interleave(STEPS))
    between = bytes_of(model.render_styles(line.flatten(0, 1), poses))
    return {"truncated": truncated, "interpolation": between.reshape(pairs, STEPS, *between.shape[1:])}


def _batches(n: int) -> Iterator[slice]:
    return (slice(start, min(start + BATCH, n)) for start in range(0, n, BATCH))


def bytes_of(renders: Renders) -> NDArray:
    """Pictures of a batch, uint8 [N,H,W,3]."""
    return to_uint8(renders.rgb.float(), value_range=(-1.0, 1.0)).permute(0, 2, 3, 1).cpu().numpy()


def geometry_of(renders: Renders) -> tuple[NDArray, NDArray]:
    """Depth float32 and opacity uint8 of a batch; without an opacity, pixels of positive depth are opaque."""
    assert renders.depth is not None
    depth = renders.depth.float()
    mask = (depth > 0).float() if renders.mask is None else renders.mask.float()
    return depth.cpu().numpy(), (mask.clamp(0, 1) * 255).round().to(torch.uint8).cpu().numpy()
