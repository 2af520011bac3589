"""Conformance tests of methods that score anomalies: maps, independence of the batch, labels, reconstruction."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from harness.specimen import CATEGORIES, Nonconforming, Specimen, own_randomness, pictures

if TYPE_CHECKING:
    import torch

    from harness.types import AnomalyMaps

SAMPLES = 5


def _maps(state: Specimen) -> str:
    images, categories = pictures(state, SAMPLES, seed=3), _categories(state)
    with own_randomness("anomaly"):
        made: AnomalyMaps = state.model.anomaly(images, categories)
    shape = (SAMPLES, *images.shape[2:])
    if tuple(made.maps.shape) != shape or not made.maps.dtype.is_floating_point:
        raise Nonconforming(f"maps must be float {list(shape)}, not {made.maps.dtype} {list(made.maps.shape)}")
    if tuple(made.scores.shape) != (SAMPLES,) or not made.scores.dtype.is_floating_point:
        raise Nonconforming(f"scores must be float [{SAMPLES}], not {made.scores.dtype} {list(made.scores.shape)}")
    if made.maps.requires_grad or made.scores.requires_grad:
        raise Nonconforming("anomaly must not build a graph; use torch.no_grad()")
    if not made.maps.isfinite().all() or not made.scores.isfinite().all():
        raise Nonconforming("maps and scores must be finite")
    again = state.model.anomaly(images, categories)
    if not again.maps.equal(made.maps) or not again.scores.equal(made.scores):
        raise Nonconforming("the same images gave two different answers")
    if made.maps[0].equal(made.maps[1]):
        raise Nonconforming("two images gave the same map")
    return f"{list(made.maps.shape)} from {made.maps.min():.3g} to {made.maps.max():.3g}"


def _batching(state: Specimen) -> str:
    images, categories = pictures(state, SAMPLES, seed=3), _categories(state)
    whole = state.model.anomaly(images, categories)
    for row in range(SAMPLES):
        one = slice(row, row + 1)
        alone = state.model.anomaly(images[one], None if categories is None else categories[one])
        if not alone.maps.allclose(whole.maps[one], rtol=1e-3, atol=1e-4):
            raise Nonconforming("a map depends on the others of its batch; score in evaluation mode")
        if not alone.scores.allclose(whole.scores[one], rtol=1e-3, atol=1e-4):
            raise Nonconforming("a score depends on the others of its batch")
    return "an answer does not depend on its batch"


def _reconstruction(state: Specimen) -> str:
    model = state.model
    if not hasattr(model, "reconstruct"):
        return "does not reconstruct features"
    target = model.features(pictures(state, SAMPLES, seed=3))
    rebuilt = model.reconstruct(target, _categories(state))
    if target.ndim != 4 or rebuilt.shape != target.shape:
        raise Nonconforming(f"features {list(target.shape)} were rebuilt as {list(rebuilt.shape)}, expected [N,C,h,w]")
    if rebuilt.requires_grad or not rebuilt.isfinite().all():
        raise Nonconforming("reconstruct must give finite values and build no graph")
    return f"features {list(target.shape[1:])} and their reconstruction"


def _categories(state: Specimen) -> torch.Tensor | None:
    """Labels, for a method that has one model per category only."""
    import torch

    if not isinstance(getattr(state.model, "separate", None), bool):
        raise Nonconforming("the attribute 'separate' must say whether there is one model per category")
    return torch.arange(SAMPLES) % CATEGORIES if state.model.separate else None


CHECKS: tuple[tuple[str, Callable[[Specimen], str]], ...] = (
    ("maps", _maps),
    ("batching", _batching),
    ("reconstruction", _reconstruction),
)
