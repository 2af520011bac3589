"""Conformance tests of methods that segment: logits, independence of the batch, pseudo-labels and negatives."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from harness.specimen import Nonconforming, Specimen, data_of, own_randomness, pictures

if TYPE_CHECKING:
    from harness.types import PseudoLabels

SAMPLES = 3


def _logits(state: Specimen) -> str:
    images, names = pictures(state, SAMPLES, seed=3), list(getattr(state.model, "networks", ()))
    if not names or len(set(names)) != len(names) or not all(isinstance(name, str) for name in names):
        raise Nonconforming(f"networks must name what can be segmented with, once each, not {names}")
    shape = (SAMPLES, int(data_of(state).options["classes"]), *images.shape[2:])
    for name in names:
        with own_randomness("segment"):
            made = state.model.segment(images, name)
        if tuple(made.shape) != shape or not made.dtype.is_floating_point:
            raise Nonconforming(f"{name}: logits must be float {list(shape)}, not {made.dtype} {list(made.shape)}")
        if made.requires_grad or not made.isfinite().all():
            raise Nonconforming(f"{name}: logits must be finite and build no graph")
        if not state.model.segment(images, name).equal(made):
            raise Nonconforming(f"{name}: the same images gave two different answers")
    return f"{', '.join(names)}: {list(shape)}"


def _batching(state: Specimen) -> str:
    images = pictures(state, SAMPLES, seed=3)
    for name in state.model.networks:
        whole = state.model.segment(images, name)
        for row in range(SAMPLES):
            if not state.model.segment(images[row : row + 1], name).allclose(
                whole[row : row + 1], rtol=1e-3, atol=1e-3
            ):
                raise Nonconforming(f"{name}: an answer depends on the others of its batch; segment in evaluation mode")
    return "an answer does not depend on its batch"


def _labelling(state: Specimen) -> str:
    images = pictures(state, SAMPLES, seed=3)
    classes = int(data_of(state).options["classes"])
    if not hasattr(state.model, "pseudo_labels"):
        return "labels no pixels"
    with own_randomness("pseudo_labels"):
        made: PseudoLabels = state.model.pseudo_labels(images)
    shape = (SAMPLES, *images.shape[2:])
    for name, values in (("labels", made.labels), ("confidence", made.confidence), ("kept", made.kept)):
        if tuple(values.shape) != shape or values.requires_grad:
            raise Nonconforming(
                f"pseudo_labels: {name} must be {list(shape)} without a graph, not {list(values.shape)}"
            )
    if made.labels.is_floating_point() or not 0 <= int(made.labels.min()) <= int(made.labels.max()) < classes:
        raise Nonconforming(f"pseudo_labels: labels must be integers from 0 to {classes - 1}")
    if not made.confidence.isfinite().all() or made.confidence.min() < 0 or made.confidence.max() > 1 + 1e-4:
        raise Nonconforming("pseudo_labels: confidence must lie in [0, 1]")
    return f"labels with confidence {made.confidence.min():.2f} to {made.confidence.max():.2f}"


def _negatives(state: Specimen) -> str:
    if not hasattr(state.model, "negatives"):
        return "contrasts no classes"
    images = pictures(state, SAMPLES, seed=3)
    with own_randomness("negatives"):
        chosen, unreliable = state.model.negatives(images)
    classes = int(data_of(state).options["classes"])
    if chosen.ndim != 4 or tuple(chosen.shape[:2]) != (SAMPLES, classes) or str(chosen.dtype) != "torch.bool":
        raise Nonconforming(f"negatives must be bool [N,{classes},h,w], not {chosen.dtype} {list(chosen.shape)}")
    if tuple(unreliable.shape) != (SAMPLES, *chosen.shape[2:]) or str(unreliable.dtype) != "torch.bool":
        raise Nonconforming(f"the unreliable pixels must be bool [N,h,w], not {list(unreliable.shape)}")
    return f"negatives on a grid of {list(chosen.shape[2:])}"


CHECKS: tuple[tuple[str, Callable[[Specimen], str]], ...] = (
    ("logits", _logits),
    ("batching", _batching),
    ("labelling", _labelling),
    ("negatives", _negatives),
)
