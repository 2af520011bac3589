"""Conformance tests of methods that generate: pictures, independence of the batch, cameras and depth."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from harness.specimen import Nonconforming, Specimen, data_of, own_randomness, pictures

if TYPE_CHECKING:
    import torch

    from harness.types import Cameras, Renders

SAMPLES = 3


def _sampling(state: Specimen) -> str:
    latents, cameras = _latents(state), _cameras(state)
    with own_randomness("sample"):
        made: Renders = state.model.sample(latents, cameras)
    size = data_of(state).resolution
    _check_image(made, size)
    if not state.model.sample(latents, cameras).rgb.equal(made.rgb):
        raise Nonconforming("the same latents and cameras gave two different pictures")
    if made.rgb[0].equal(made.rgb[1]):
        raise Nonconforming("two latents gave the same picture")
    _check_image(state.model.sample(latents, None), size)
    return f"{tuple(made.rgb.shape)} in [{made.rgb.min():.2f}, {made.rgb.max():.2f}]"


def _batching(state: Specimen) -> str:
    from harness.cameras import select

    latents, cameras = _latents(state), _cameras(state)
    whole = state.model.sample(latents, cameras).rgb
    for row in range(SAMPLES):
        alone = state.model.sample(latents[row : row + 1], select(cameras, slice(row, row + 1))).rgb
        if not alone.allclose(whole[row : row + 1], atol=1e-3):
            raise Nonconforming("a picture depends on the others of its batch; sample in evaluation mode")
    return "a picture does not depend on its batch"


def _geometry(state: Specimen) -> str:
    card = state.found.card
    one = _latents(state, 1)
    made: Renders = state.model.sample(one.expand(SAMPLES, *one.shape[1:]), _cameras(state))
    turns = not made.rgb[0].allclose(made.rgb[-1], atol=1e-6)
    if turns != card.controls_pose:
        answer = "changes" if turns else "does not change"
        raise Nonconforming(f"controls_pose: {str(card.controls_pose).lower()}, but the camera {answer} the picture")
    if (made.depth is not None) != card.has_depth:
        answer = "missing" if card.has_depth else "returned"
        raise Nonconforming(f"has_depth: {str(card.has_depth).lower()}, but depth is {answer}")
    shape = made.rgb[:, 0].shape
    if made.depth is not None and (
        made.depth.shape != shape or not made.depth.isfinite().all() or made.depth.min() < 0
    ):
        raise Nonconforming(f"depth must be finite z-depth [N,H,W] from 0 on, not {tuple(made.depth.shape)}")
    if made.mask is not None and (made.mask.shape != shape or made.mask.min() < -1e-3 or made.mask.max() > 1.001):
        raise Nonconforming("mask must be [N,H,W] in [0,1]")
    pose = "the camera turns the object" if turns else "no pose control"
    return f"{pose}, {'with' if card.has_depth else 'without'} depth, as the card says"


def _depth_reading(state: Specimen) -> str:
    from harness.types import ReadsDepth

    if not isinstance(state.model, ReadsDepth):
        return "reads no depth from pictures, and need not"
    images = pictures(state, SAMPLES)
    with own_randomness("read_depth"):
        depth = state.model.read_depth(images)
    if depth.shape != images[:, 0].shape or depth.requires_grad or not depth.isfinite().all() or depth.min() <= 0:
        raise Nonconforming(f"read_depth must be finite positive z-depth [N,H,W], not {tuple(depth.shape)}")
    if not state.model.read_depth(images[:1]).allclose(depth[:1], atol=1e-3):
        raise Nonconforming("the depth read from a picture depends on the others of its batch")
    return f"{depth.min():.3g} to {depth.max():.3g}"


CHECKS: tuple[tuple[str, Callable[[Specimen], str]], ...] = (
    ("sampling", _sampling),
    ("batching", _batching),
    ("geometry", _geometry),
    ("depth reading", _depth_reading),
)


def _latents(state: Specimen, n: int = SAMPLES) -> torch.Tensor:
    import torch

    latents: torch.Tensor = state.model.latents(n, torch.Generator().manual_seed(2))
    if len(latents) != n:
        raise Nonconforming(f"latents({n}) must have {n} rows, not {len(latents)}")
    return latents


def _cameras(state: Specimen) -> Cameras:
    """Cameras that look from the left, the front and the right."""
    import torch

    from harness.cameras import look_at

    prior = data_of(state).prior
    assert prior is not None
    return look_at(torch.tensor([-0.6, 0.0, 0.6]), torch.zeros(SAMPLES), prior)


def _check_image(made: Renders, size: int) -> None:
    rgb = made.rgb
    if tuple(rgb.shape) != (SAMPLES, 3, size, size) or not rgb.dtype.is_floating_point:
        raise Nonconforming(f"rgb must be float [{SAMPLES},3,{size},{size}], not {rgb.dtype} {tuple(rgb.shape)}")
    if rgb.requires_grad:
        raise Nonconforming("sample must not build a graph; use torch.no_grad()")
    if not rgb.isfinite().all() or rgb.min() < -1.001 or rgb.max() > 1.001:
        raise Nonconforming(f"rgb must be finite and in [-1,1]; it spans {rgb.min():.3g} to {rgb.max():.3g}")
