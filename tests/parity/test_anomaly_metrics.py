"""Anomaly metrics against scikit-learn, where it is installed, and against a peer's definitions typed again."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.metrics import anomaly
from tests.anomaly_references import label, tied_maps

MODEST = settings(deadline=None, max_examples=100)
seeds = st.integers(0, 2**32 - 1)


def maps(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Heavy-tailed maps of 30 images with squares that score higher."""
    rng = np.random.default_rng(seed)
    scores, masks = rng.lognormal(size=(30, 64, 64)).astype("f4"), np.zeros((30, 64, 64), bool)
    for mask in masks[::2]:
        y, x, side = rng.integers((0, 0, 3), (50, 50, 14))
        mask[y : y + side, x : x + side] = True
    return scores * (1 + 5 * masks.astype("f4")), masks


# ------------------------------------------------------------------------------------------------ scikit-learn
@MODEST
@given(seeds)
def test_scores_with_ties_equal_scikit_learn(seed: int) -> None:
    metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn is not a dependency")
    scores, masks = (a.ravel() for a in tied_maps(np.random.default_rng(seed)))
    assert anomaly.roc_auc_score(scores, masks) == pytest.approx(metrics.roc_auc_score(masks, scores), abs=1e-12)
    theirs = metrics.average_precision_score(masks, scores)
    assert anomaly.average_precision_score(scores, masks) == pytest.approx(theirs, abs=1e-12)
    precision, recall, _ = metrics.precision_recall_curve(masks, scores)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-300)
    assert anomaly.f1_max(scores, masks)[0] == pytest.approx(f1.max(), abs=1e-12)


def test_maps_equal_scikit_learn() -> None:
    metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn is not a dependency")
    scores, masks = maps(0)
    found, flat = anomaly.pixel_scores(scores, masks), (masks.ravel(), scores.ravel())
    assert found["pixel_auroc"] == pytest.approx(metrics.roc_auc_score(*flat), abs=1e-12)
    assert found["pixel_ap"] == pytest.approx(metrics.average_precision_score(*flat), abs=1e-12)


# --------------------------------------------------------------------- definitions of scikit-learn, typed again
@MODEST
@given(seeds)
def test_mid_ranks_and_recall_steps(seed: int) -> None:
    """AUROC as the rank statistic of Mann and Whitney, average precision over distinct thresholds."""
    from scipy.stats import rankdata

    scores, masks = (a.ravel() for a in tied_maps(np.random.default_rng(seed)))
    positive, negative = int(masks.sum()), int((~masks).sum())
    statistic = rankdata(scores)[masks].sum() - positive * (positive + 1) / 2
    assert anomaly.roc_auc_score(scores, masks) == pytest.approx(statistic / (positive * negative), abs=1e-12)
    order = np.argsort(-scores, kind="stable")
    last = np.append(np.diff(scores[order]) != 0, True)
    hits, flagged = masks[order].cumsum()[last], np.flatnonzero(last) + 1
    steps = np.diff(hits / positive, prepend=0) * hits / flagged
    assert anomaly.average_precision_score(scores, masks) == pytest.approx(steps.sum(), abs=1e-12)


# ------------------------------------------------------------------------------- anomalib's AUPRO, typed again
def anomalib_aupro(scores: np.ndarray, masks: np.ndarray, limit: float) -> float:
    """Global sort and cumulative sums in float32; the curve is cut at the limit and divided by where it ends."""
    found, count = label(masks)
    labels, values = torch.from_numpy(found).reshape(-1), torch.from_numpy(scores).reshape(-1).float()
    normal = (labels == 0).float()
    gain = torch.where(labels > 0, 1 / labels.bincount(minlength=count + 1).float()[labels], 0.0)
    order = values.argsort(descending=True)
    ordered = values[order]
    keep = torch.ones_like(ordered, dtype=torch.bool)
    keep[:-1] = ordered[:-1] != ordered[1:]
    fpr = (normal[order].cumsum(0) / normal.sum()).clamp(max=1)[keep]
    pro = (gain[order].cumsum(0) / count).clamp(max=1)[keep]
    fpr, pro = (torch.cat([torch.zeros(1), curve]) for curve in (fpr, pro))
    last = int((fpr <= limit).nonzero()[-1])
    if fpr[last] < limit and last + 1 < len(fpr):
        share = (limit - fpr[last]) / (fpr[last + 1] - fpr[last])
        end = pro[last] + (pro[last + 1] - pro[last]) * share
        fpr, pro = torch.cat([fpr[: last + 1], torch.tensor([limit])]), torch.cat([pro[: last + 1], end[None]])
    else:
        fpr, pro = fpr[: last + 1], pro[: last + 1]
    return float(torch.trapezoid(pro, fpr) / fpr[-1])


@pytest.mark.parametrize("limit", [0.3, 0.05, 1.0])
@pytest.mark.parametrize("seed", [0, 1])
def test_aupro_equals_the_peer_to_its_own_precision(seed: int, limit: float) -> None:
    scores, masks = maps(seed)
    ours, _ = anomaly.per_region_overlap_auc(scores, masks, fpr_limit=limit)
    assert ours == pytest.approx(anomalib_aupro(scores, masks, limit), abs=1e-5)


@MODEST
@given(seeds)
def test_aupro_with_ties_equals_the_peer(seed: int) -> None:
    scores, masks = tied_maps(np.random.default_rng(seed))
    ours, _ = anomaly.per_region_overlap_auc(scores, masks)
    assert ours == pytest.approx(anomalib_aupro(scores, masks, 0.3), abs=1e-5)
