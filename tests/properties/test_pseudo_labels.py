"""Which pseudo-labels are kept, and what the student is asked for."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from harness.types import ConfigError
from methods.blocks.pixel_losses import IGNORE
from methods.blocks.pseudo_labels import Quality, QualityOptions, label_pixels, targets


def _options(quality: Quality = "image_weight", tau: float = 0.6, alpha: float = 0.2, **more: object) -> QualityOptions:
    return QualityOptions(quality, tau, alpha, "linear", True, tuple(more.get("rows", (0, 0))))  # type: ignore[arg-type]


def _logits(seed: int) -> Tensor:
    return 3 * torch.randn(2, 5, 6, 7, generator=torch.Generator().manual_seed(seed))


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 2**31), taus=st.tuples(st.floats(0, 1), st.floats(0, 1)))
def test_the_image_weight_is_one_share_that_falls_with_tau(seed: int, taus: tuple[float, float]) -> None:
    weights = []
    for tau in sorted(taus):
        found = label_pixels(_logits(seed), _options(tau=tau), 0.0)
        labels, weight = targets(found, _options(tau=tau))
        assert weight is not None
        assert weight.ndim == 0
        assert float(weight) == pytest.approx(float((found.confidence >= tau).sum()) / found.labels.numel())
        assert labels.equal(found.labels)
        weights.append(float(weight))
    assert 0 <= weights[1] <= weights[0] <= 1


def test_labels_and_confidence_are_those_of_the_softmax() -> None:
    logits = _logits(0)
    found = label_pixels(logits, _options(), 0.0)
    top = logits.softmax(1).max(1)
    assert found.labels.equal(top.indices)
    torch.testing.assert_close(found.confidence, top.values)


def test_the_threshold_drops_pixels() -> None:
    o = _options("threshold", tau=0.8)
    found = label_pixels(_logits(1), o, 0.0)
    labels, weight = targets(found, o)
    assert weight is None
    assert labels.eq(IGNORE).equal(found.confidence < 0.8)
    assert labels[found.kept].equal(found.labels[found.kept])


@pytest.mark.parametrize(("progress", "alpha"), [(0.0, 0.4), (0.5, 0.2), (1.0, 0.0)])
def test_entropy_keeps_the_certain_share(progress: float, alpha: float) -> None:
    o = _options("entropy", alpha=0.4)
    logits = _logits(2)
    found = label_pixels(logits, o, progress)
    h = torch.special.entr(logits.softmax(1)).sum(1)
    dropped = int((~found.kept).sum())
    assert abs(dropped - alpha * found.kept.numel()) <= 1
    assert dropped == 0 or h[found.kept].max() < h[~found.kept].min()
    labels, weight = targets(found, o)
    assert weight is None
    assert labels.eq(IGNORE).equal(~found.kept)


def test_none_keeps_all() -> None:
    found = label_pixels(_logits(3), _options("none"), 0.0)
    assert found.kept.all()
    labels, weight = targets(found, _options("none"))
    assert weight is None
    assert labels.equal(found.labels)


@pytest.mark.parametrize("quality", ["image_weight", "threshold", "entropy", "none"])
def test_ignored_rows_never_count(quality: Quality) -> None:
    o = _options(quality, rows=(1, 2))
    found = label_pixels(_logits(4), o, 0.0)
    before = found.labels.clone()
    labels, _ = targets(found, o)
    assert (labels[:, :1] == IGNORE).all()
    assert (labels[:, -2:] == IGNORE).all()
    assert labels[:, 1:-2][found.kept[:, 1:-2]].equal(before[:, 1:-2][found.kept[:, 1:-2]])
    assert found.labels.equal(before)


@pytest.mark.parametrize("change", [{"tau": 1.5}, {"alpha": -0.1}, {"rows": (1,)}])
def test_impossible_rules_are_named(change: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        _options(**change)  # type: ignore[arg-type]
