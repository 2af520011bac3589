"""What a trained generator is asked for: prior samples, the same rooms at several yaws, swaps of its two codes."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from harness.cameras import look_at, select
from harness.data.views import Dataset
from harness.metrics.binned_depth import binned_cross_entropy
from harness.metrics.resize import to_uint8
from harness.types import Cameras, Context, Discriminates, Generates, PosePrior, Unsupported
from suites.protocols.generation.overfitting import JUDGED
from suites.protocols.generation.sizes import Sizes, neighbours
from suites.protocols.rgbd.coding import FIELD, Coding, signed

BATCH = 64
Arrays = dict[str, NDArray]


def draw(model: Generates, dataset: Dataset, wanted: Sizes, context: Context) -> Arrays:
    """Everything that is scored, as images uint8 [.,H,W,3] and z-depth float32 [.,H,W] in world units.

    ``images`` [n] and ``depth`` [n] at poses from the prior; ``views`` [K,V] and ``views_depth`` of K rooms at the V
    yaws ``views_yaw``; ``swap`` [A,A] and ``swap_depth``: code a of the first path (depth) in row a, code b of the
    second (appearance) in column b, all at one pose. ``logits_train``, ``logits_val``, ``logits_fake`` of the
    discriminator; ``head_ce`` [m]: cross-entropy of its depth head on images of ``val``, and its number of bins
    ``head_bins``. What a model cannot give is absent.
    """
    generator, prior = context.generator, dataset.spec.prior
    cameras = None if prior is None else context.sample_cameras(wanted.n, generator)
    arrays = _sampled(model, model.latents(wanted.n, generator), cameras, names=("images", "depth"))
    if prior is not None:
        rooms = model.latents(wanted.latents, generator)
        arrays |= _at_yaws(model, rooms, neighbours(prior, wanted.views), prior, context)
        if rooms.ndim == 3 and rooms.shape[1] == 2:
            arrays |= _swapped(model, rooms[: max(2, int(wanted.swaps**0.5))], prior, context)
    return arrays | _asked(model, dataset, arrays, context)


def _sampled(model: Generates, latents: Tensor, cameras: Cameras | None, *, names: tuple[str, str]) -> Arrays:
    """Images and, where the model has them, depths of all latents under the two names, drawn in batches."""
    parts: tuple[list[NDArray], list[NDArray]] = ([], [])
    for start in range(0, len(latents), BATCH):
        index = slice(start, min(start + BATCH, len(latents)))
        renders = model.sample(latents[index], None if cameras is None else select(cameras, index))
        parts[0].append(to_uint8(renders.rgb.float(), value_range=(-1.0, 1.0)).permute(0, 2, 3, 1).cpu().numpy())
        if renders.depth is not None:
            parts[1].append(renders.depth.float().cpu().numpy())
    return {name: np.concatenate(part) for name, part in zip(names, parts, strict=True) if part}


def _at_yaws(model: Generates, rooms: Tensor, yaws: NDArray, prior: PosePrior, context: Context) -> Arrays:
    azimuth = torch.from_numpy(yaws).to(context.device).repeat(len(rooms))
    cameras = look_at(azimuth, torch.full_like(azimuth, prior.elevation[0]), prior)
    drawn = _sampled(model, rooms.repeat_interleave(len(yaws), dim=0), cameras, names=("views", "views_depth"))
    return {"views_yaw": yaws, **_as_grid(drawn, len(rooms))}


def _swapped(model: Generates, rooms: Tensor, prior: PosePrior, context: Context) -> Arrays:
    """Every first code with every second one, at the centre of the prior's poses."""
    count = len(rooms)
    pairs = torch.stack([rooms[:, 0].repeat_interleave(count, dim=0), rooms[:, 1].repeat(count, 1)], dim=1)
    azimuth = torch.full((count * count,), prior.azimuth[0], device=context.device)
    cameras = look_at(azimuth, torch.full_like(azimuth, prior.elevation[0]), prior)
    return _as_grid(_sampled(model, pairs, cameras, names=("swap", "swap_depth")), count)


def _as_grid(arrays: Arrays, rows: int) -> Arrays:
    return {name: array.reshape(rows, -1, *array.shape[1:]) for name, array in arrays.items()}


def _asked(model: Any, dataset: Dataset, arrays: Mapping[str, NDArray], context: Context) -> Arrays:
    """What the model's discriminator says of training, held-out and generated RGBD images, ``JUDGED`` of each."""
    answers: Arrays = {}
    if isinstance(model, Discriminates) and "depth" in arrays:
        coded = 2 * Coding.of(dataset.spec).level(arrays["depth"][:JUDGED]) - 1
        shown = {
            "logits_train": _real(dataset, "train", min(JUDGED, model.train_images or JUDGED)),
            "logits_val": _real(dataset, held_out_split(dataset), JUDGED),
            "logits_fake": _rgbd(arrays["images"][:JUDGED], coded),
        }
        for name, images in shown.items():
            answers[name] = model.discriminate(images.to(context.device)).float().cpu().numpy()
    if hasattr(model, "depth_logits"):
        with contextlib.suppress(Unsupported):  # a head that does not answer in bins has no cross-entropy
            held_out = _real(dataset, held_out_split(dataset), JUDGED).to(context.device)
            logits = model.depth_logits(held_out[:, :3])
            answers["head_ce"] = np.asarray(binned_cross_entropy(logits, held_out[:, 3], reduction="none"))
            answers["head_bins"] = np.asarray(logits.shape[1])
    return answers


def held_out_split(dataset: Dataset) -> str:
    """The split whose images a discriminator is asked about: ``val``, or ``test`` where there is none."""
    return "val" if dataset.spec.splits.get("val") else "test"


def _real(dataset: Dataset, split: str, most: int) -> Tensor:
    view = dataset.split(split).view(("image", FIELD))
    return _rgbd(view["image"][:most], signed(np.asarray(view[FIELD][:most])))


def _rgbd(images: NDArray, depth: NDArray) -> Tensor:
    """uint8 [N,H,W,3] and coded depth [N,H,W] -> float32 [N,4,H,W]."""
    rgb = torch.from_numpy(np.asarray(images, np.float32).transpose(0, 3, 1, 2) / 127.5 - 1)
    return torch.cat([rgb, torch.from_numpy(np.asarray(depth, np.float32))[:, None]], dim=1)
