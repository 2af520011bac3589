"""Pseudo-labels against the hidden truth: along a training, and as columns."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from harness.data.views import Split
from harness.metrics import calibration, segmentation
from harness.types import Context, LabelsPixels, PicksNegatives
from suites.protocols.generation.sheet import Sheet
from suites.protocols.segmentations.inference import loaded

NO_LABELS, NO_TRUTH = "labels no pixels", "the truth of the unlabelled images is not in these data"
NO_NEGATIVES = "contrasts no classes"
CURVES = ("pl_acc", "pl_miou", "pl_kept_acc", "pl_coverage", "pl_ece", "unreliable_error", "agreement")
NEGATIVES = ("queue_fnr", "queue_fnr[negatives=any]")
QUARTERS = 4
BATCH = 16


def probed_rows(split: Split, count: int) -> NDArray[np.int64]:
    """The fixed images on which pseudo-labels are judged: ``count`` evenly spaced rows of the unlabelled split."""
    return np.unique(np.linspace(0, len(split) - 1, min(count, len(split))).round().astype(np.int64))


def measure(model: Any, split: Split, count: int, classes: int, ignore: int, context: Context) -> dict[str, float]:
    """What ``model`` would teach itself now, against the truth of the unlabelled ``split`` that training never sees.

    ``pl_acc`` and ``pl_miou`` over all valid pixels, ``pl_kept_acc`` over those kept, their share ``pl_coverage``, the
    calibration error ``pl_ece``, the share of wrong labels among those not kept, ``agreement`` of student and teacher,
    ``miou`` of the shipped network on the same images; see ``negatives`` for the queues. Empty without hidden truth:
    no labels, or labels that are all ignored.
    """
    if "label" not in split.fields:
        return {}
    rows = probed_rows(split, count)
    truth = np.asarray(split.view(("label",))["label"][rows])
    if (truth == ignore).all():
        return {}
    images = loaded(np.asarray(split.view(("image",))["image"][rows]), context)
    said = {
        name: torch.cat([model.segment(part, name) for part in images.split(BATCH)]).argmax(1)
        for name in model.networks
    }
    first = next(iter(said.values())).cpu().numpy()
    matrix = segmentation.confusion_matrix(first, truth, num_classes=classes, ignore_index=ignore)
    measured = {"miou": segmentation.mean_iou(matrix)}
    if not isinstance(model, LabelsPixels):
        return measured
    made = [model.pseudo_labels(part) for part in images.split(BATCH)]
    labels = torch.cat([part.labels for part in made]).cpu().numpy()
    confidence = torch.cat([part.confidence for part in made]).float().cpu().numpy()
    kept = torch.cat([part.kept for part in made]).cpu().numpy()
    valid = truth != ignore
    measured |= calibration.pseudo_label_scores(labels, truth, kept, num_classes=classes, ignore_index=ignore)
    measured["pl_ece"] = calibration.calibration_error(confidence[valid].clip(0, 1), (labels == truth)[valid])
    if len(said) > 1:
        measured["agreement"] = calibration.agreement(*[maps.cpu().numpy() for maps in said.values()][:2])
    if isinstance(model, PicksNegatives):
        measured |= negatives(model, images, torch.from_numpy(labels), truth, ignore)
    return measured


def negatives(
    model: PicksNegatives, images: torch.Tensor, labels: torch.Tensor, truth: NDArray[np.uint8], ignore: int
) -> dict[str, float]:
    """Shares of false negatives: of the pixels taken as negatives of a class, those whose truth is that class.

    ``queue_fnr`` for the method's choice; ``queue_fnr_any`` where every unreliable pixel would be a negative of every
    class but the one of its pseudo-label, ``labels`` int64 [N,H,W].
    """
    parts = [model.negatives(part) for part in images.split(BATCH)]
    chosen, unreliable = torch.cat([part[0] for part in parts]), torch.cat([part[1] for part in parts])
    maps = torch.stack((labels, torch.from_numpy(truth).long()), 1).float()
    said, known = F.interpolate(maps, size=chosen.shape[2:], mode="nearest").byte().unbind(1)
    classes = torch.arange(chosen.shape[1])[:, None, None]
    others = unreliable.cpu()[:, None] & (said[:, None] != classes)
    rate = calibration.queue_false_negative_rate
    return {
        "queue_fnr": rate(chosen.cpu().numpy(), known.numpy(), ignore_index=ignore),
        "queue_fnr_any": rate(others.numpy(), known.numpy(), ignore_index=ignore),
    }


def score_curves(sheet: Sheet, curves: Mapping[str, NDArray[np.float64]]) -> None:
    """Enter means over the points of the curves ``probe_*`` [T], and keep the curves.

    ``[quarter=k]`` is the mean over the points of the k-th quarter of training; the rates of the queues are means over
    its second half, when queues are full.
    """
    sheet.per_sample |= {name: values for name, values in curves.items() if name.startswith("probe_")}
    if "probe_pl_acc" not in curves:
        reason = NO_LABELS if "probe_miou" in curves else NO_TRUTH
        quarters = tuple(f"{name}[quarter={k}]" for name in CURVES[:2] for k in range(1, QUARTERS + 1))
        sheet.lack((*CURVES, *quarters, *NEGATIVES), reason)
        return
    step = curves["probe_step"]
    quarter = np.ceil(QUARTERS * step / step[-1])
    for name in CURVES:
        values = curves.get(f"probe_{name}", np.full(len(step), math.nan))
        sheet.put(name, _mean(values), "one network only" if name == "agreement" else "undefined along the training")
        if name in CURVES[:2]:
            for k in range(1, QUARTERS + 1):
                sheet.put(f"{name}[quarter={k}]", _mean(values[quarter == k]), "no point of the curve in this quarter")
    late = quarter > QUARTERS / 2
    for column, name in zip(NEGATIVES, ("queue_fnr", "queue_fnr_any"), strict=True):
        values = curves.get(f"probe_{name}", np.full(len(step), math.nan))
        sheet.put(column, _mean(values[late]), NO_NEGATIVES)


def _mean(values: NDArray[np.float64]) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else math.nan
