"""The contrastive term against loops over classes, anchors and pixels written from the paper's equations."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from harness.types import ConfigError
from methods.blocks.pixel_contrast import (
    ContrastBatch,
    among_top,
    anchor_candidates,
    by_pixel,
    cosines,
    info_nce,
    negative_candidates,
    pick,
)
from methods.u2pl.contrast import ContrastOptions, UnreliableContrast

CPU = torch.device("cpu")
OPTIONS = ContrastOptions(
    lambda_c=0.1,
    negatives="unreliable",
    rank_low=2,
    rank_high=5,
    anchors=7,
    keys_per_anchor=6,
    temperature=0.5,
    anchor_threshold=0.3,
    queue=300,
    queue_first=300,
    positive="centre",
    official_quirks=False,
)


def make_batch(seed: int, classes: int = 6, labelled: int = 2, **changes: Any) -> ContrastBatch:
    g = torch.Generator().manual_seed(seed)
    n, width, h, w = labelled + 3, 4, 5, 6
    probabilities = (2.0 * torch.randn(n, classes, h, w, generator=g)).softmax(1)
    labels = torch.randint(0, classes, (n, h, w), generator=g)
    labels[torch.rand(n, h, w, generator=g) < 0.1] = 255
    confident = (torch.rand(n, h, w, generator=g) < 0.7) & (labels != 255)
    batch = ContrastBatch(
        keys=torch.randn(n, width, h, w, generator=g),
        probabilities=probabilities,
        labels=labels,
        confident=confident,
        source=~confident & (labels != 255),
        labelled=labelled,
    )
    return replace(batch, **changes)


def features_of(seed: int, n: int = 5) -> Tensor:
    return torch.randn(n, 4, 5, 6, generator=torch.Generator().manual_seed(seed + 100)).requires_grad_()


def make(options: ContrastOptions = OPTIONS, classes: int = 6) -> UnreliableContrast:
    return UnreliableContrast(options, classes, 4, CPU, 3)


def fix_draws(contrast: UnreliableContrast, seed: int, order: Tensor | None = None) -> dict[int, Tensor]:
    """Replace the random stream by fixed numbers, optionally with the classes' rows in another order."""
    draws = {}
    for count in (contrast.options.anchors, contrast.options.anchors * contrast.options.keys_per_anchor):
        rows = torch.rand(contrast.classes, count, generator=torch.Generator().manual_seed(seed + count))
        draws[count] = rows if order is None else rows[order]
    contrast._uniform = draws.__getitem__  # type: ignore[method-assign, assignment]
    return draws


# ------------------------------------------------------------------------------------------------- by loops
def rank_of(p: list[float], c: int) -> int:
    return sorted(range(len(p)), key=lambda k: -p[k]).index(c)


def pixels_of(batch: ContrastBatch) -> list[tuple[int, int, int]]:
    return list(np.ndindex(*batch.labels.shape))


def anchors_by_loop(batch: ContrastBatch, c: int, threshold: float) -> list[int]:
    rows = []
    for row, (n, y, x) in enumerate(pixels_of(batch)):
        trusted = n < batch.labelled or bool(batch.confident[n, y, x])
        if trusted and batch.labels[n, y, x] == c and batch.probabilities[n, c, y, x] > threshold:
            rows.append(row)
    return rows


def negatives_by_loop(batch: ContrastBatch, c: int, low: int, high: int) -> list[int]:
    rows = []
    for row, (n, y, x) in enumerate(pixels_of(batch)):
        rank = rank_of(batch.probabilities[n, :, y, x].tolist(), c)
        if n < batch.labelled:
            inside = int(batch.labels[n, y, x]) not in (c, 255) and rank < low
        else:
            inside = bool(batch.source[n, y, x]) and low <= rank < high
        if inside:
            rows.append(row)
    return rows


def cosine(a: list[float], b: list[float]) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True)) / (math.hypot(*a) * math.hypot(*b))


def loss_by_loop(
    batch: ContrastBatch, student: Tensor, o: ContrastOptions, classes: int, draws: dict[int, Tensor]
) -> float:
    """The contrastive loss with queues that hold exactly the negatives of this batch."""
    features, keys = by_pixel(student).tolist(), by_pixel(batch.keys).tolist()
    losses = []
    for c in range(classes):
        anchors = anchors_by_loop(batch, c, o.anchor_threshold)
        queue = [keys[row] for row in negatives_by_loop(batch, c, o.rank_low, o.rank_high)]
        if not anchors or not queue:
            continue
        centre = [sum(keys[row][k] for row in anchors) / len(anchors) for k in range(len(keys[0]))]
        total = 0.0
        for i in range(o.anchors):
            anchor = features[anchors[int(draws[o.anchors][c, i] * len(anchors))]]
            top = math.exp(cosine(anchor, centre) / o.temperature)
            bottom = top
            for j in range(o.keys_per_anchor):
                drawn = draws[o.anchors * o.keys_per_anchor][c, i * o.keys_per_anchor + j]
                bottom += math.exp(cosine(anchor, queue[int(drawn * len(queue))]) / o.temperature)
            total -= math.log(top / bottom)
        losses.append(total / o.anchors)
    return sum(losses) / len(losses) if losses else 0.0


@pytest.mark.parametrize("seed", range(4))
def test_the_candidates_are_those_of_a_loop(seed: int) -> None:
    batch = make_batch(seed)
    anchors, negatives = anchor_candidates(batch, 0.3), negative_candidates(batch, 2, 5)
    for c in range(6):
        assert anchors[c].nonzero().flatten().tolist() == anchors_by_loop(batch, c, 0.3)
        assert negatives[c].nonzero().flatten().tolist() == negatives_by_loop(batch, c, 2, 5)


@pytest.mark.parametrize("seed", range(4))
def test_the_loss_is_the_one_of_a_loop(seed: int) -> None:
    batch, contrast = make_batch(seed), make()
    draws = fix_draws(contrast, seed)
    student = features_of(seed)
    loss, _ = contrast(batch, student)
    assert float(loss.detach()) == pytest.approx(loss_by_loop(batch, student, OPTIONS, 6, draws), rel=1e-5)


# ------------------------------------------------------------------------------------------------- oracles
@pytest.mark.parametrize(("between", "expected"), [(0.0, 2.04985), (-1.0, 0.65013)])
def test_the_loss_of_perfect_features(between: float, expected: float) -> None:
    """log(1 + 50 exp(-2)) for orthogonal classes, log(1 + 50 exp(-4)) for opposite ones, at temperature 0.5."""
    one = torch.tensor([1.0, 0.0])
    other = torch.tensor([between, math.sqrt(1.0 - between**2)])
    loss = info_nce(*cosines(one.expand(1, 3, 2), one.expand(1, 2), other.expand(1, 3, 50, 2)), 0.5)
    assert float(loss) == pytest.approx(expected, abs=1e-5)


def test_two_separate_classes_give_the_oracle_through_the_whole_term() -> None:
    """Two look-alike classes that the labelled pixels confuse: each queue holds the other class's feature."""
    o = replace(OPTIONS, rank_high=6, keys_per_anchor=50)
    labels = torch.tensor([[[0, 0, 1, 1]]])
    keys = torch.zeros(1, 4, 1, 4)
    keys[0, 0, 0, :2], keys[0, 1, 0, 2:] = 3.0, 0.5
    probabilities = torch.tensor([0.45, 0.4, 0.05, 0.04, 0.03, 0.03]).view(1, 6, 1, 1).expand(1, 6, 1, 4)
    nowhere = torch.zeros(1, 1, 4, dtype=torch.bool)
    batch = ContrastBatch(keys, probabilities, labels, nowhere, nowhere, labelled=1)
    loss, margin = make(o)(batch, keys.clone().requires_grad_())
    assert float(loss.detach()) == pytest.approx(2.04985, abs=1e-5)
    assert float(margin) == pytest.approx(1.0, abs=1e-6)


# ---------------------------------------------------------------------------------------------- invariances
@pytest.mark.parametrize("seed", range(3))
def test_a_rescaled_feature_changes_nothing_and_the_loss_is_bounded(seed: int) -> None:
    g = torch.Generator().manual_seed(seed)
    anchors, positives = torch.randn(3, 5, 4, generator=g), torch.randn(3, 4, generator=g)
    negatives = torch.randn(3, 5, 9, 4, generator=g)
    loss = info_nce(*cosines(anchors, positives, negatives), 0.5)
    scaled = (10.0 ** torch.randn(x.shape[:-1], generator=g)[..., None] * x for x in (anchors, positives, negatives))
    assert torch.allclose(info_nce(*cosines(*scaled), 0.5), loss, atol=1e-5)
    assert ((loss >= math.log1p(9 * math.exp(-4))) & (loss <= math.log1p(9 * math.exp(4)))).all()


def permuted(batch: ContrastBatch, order: Tensor) -> ContrastBatch:
    """The same batch with class ``order[k]`` renamed to k."""
    names = torch.full((256,), 255)
    names[order] = torch.arange(len(order))
    return replace(batch, probabilities=batch.probabilities[:, order], labels=names[batch.labels])


@pytest.mark.parametrize("quirks", [False, pytest.param(True, marks=pytest.mark.xfail(strict=True))])
def test_renaming_the_classes_changes_nothing(quirks: bool) -> None:
    """Holds for the equations; the released code's shifted class index breaks it, which ``official_quirks`` repeats."""
    batch = make_batch(5)
    # Some classes are absent, as in every small batch: then the released loop is over the wrong ones.
    batch.labels[(batch.labels == 0) | (batch.labels == 2)] = 255
    batch = replace(batch, confident=batch.confident & (batch.labels != 255))
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    one, two = (make(replace(OPTIONS, official_quirks=quirks)) for _ in range(2))
    fix_draws(one, 0)
    fix_draws(two, 0, order)
    student = features_of(5)
    renamed = two(permuted(batch, order), student)[0]
    assert float(renamed.detach()) == pytest.approx(float(one(batch, student)[0].detach()), rel=1e-5)
    assert torch.equal(one.queues.keys[order], two.queues.keys)


def test_gradients_reach_the_anchors_alone() -> None:
    batch = make_batch(1)
    batch = replace(batch, keys=batch.keys.requires_grad_(), probabilities=batch.probabilities.requires_grad_())
    contrast = make()
    student = features_of(1)
    contrast(batch, student)[0].backward()
    assert student.grad is not None
    assert student.grad.abs().sum() > 0
    assert batch.keys.grad is None
    assert batch.probabilities.grad is None
    assert not contrast.queues.keys.requires_grad
    touched = by_pixel(student.grad).abs().sum(1) > 0
    assert not (touched & ~anchor_candidates(batch, 0.3).any(0)).any()


# ------------------------------------------------------------------------------------------ degenerate cases
def nothing_confident(batch: ContrastBatch) -> ContrastBatch:
    labels = torch.full_like(batch.labels, 255)
    return replace(batch, labels=labels, confident=torch.zeros_like(batch.confident))


def one_class(batch: ContrastBatch) -> ContrastBatch:
    return replace(batch, labels=torch.where(batch.labels == 255, 255, 1))


def silent(batch: ContrastBatch) -> ContrastBatch:
    return replace(batch, keys=torch.zeros_like(batch.keys))


def no_source(batch: ContrastBatch) -> ContrastBatch:
    return replace(batch, source=torch.zeros_like(batch.source))


@pytest.mark.parametrize("quirks", [False, True])
@pytest.mark.parametrize("positive", ["centre", "prototype"])
@pytest.mark.parametrize("change", [nothing_confident, one_class, silent, no_source])
def test_degenerate_batches_are_finite_and_go_backward(change: Any, positive: Any, quirks: bool) -> None:
    contrast = make(replace(OPTIONS, positive=positive, official_quirks=quirks))
    for seed in range(2):
        student = torch.zeros(5, 4, 5, 6, requires_grad=True) if change is silent else features_of(seed)
        loss, margin = contrast(change(make_batch(seed)), student)
        loss.backward()
        assert torch.isfinite(loss)
        assert torch.isfinite(margin)
        assert student.grad is not None
        assert torch.isfinite(student.grad).all()


def test_no_anchor_means_no_loss() -> None:
    loss, margin = make()(nothing_confident(make_batch(0)), features_of(0))
    assert float(loss.detach()) == 0.0
    assert float(margin) == 0.0


def test_too_few_classes_warn_and_switch_the_term_off() -> None:
    with pytest.warns(UserWarning, match="leaves no negatives among 2 classes"):
        contrast = make(classes=2)
    assert not contrast.active
    batch = make_batch(0, classes=2)
    assert not negative_candidates(batch, 2, 5)[:, batch.labelled * 30 :].any()


def test_the_released_term_has_no_labelled_negatives() -> None:
    batch = make_batch(2)
    contrast = make(replace(OPTIONS, official_quirks=True))
    assert not contrast.negatives(batch)[:, : batch.labelled * 30].any()
    assert make().negatives(batch)[:, : batch.labelled * 30].any()


# ---------------------------------------------------------------------------------------------- small parts
@pytest.mark.parametrize("top", [0, 1, 3, 4, 9])
def test_among_top_names_exactly_so_many_classes(top: int) -> None:
    tied = torch.tensor([[0.25, 1.0, 0.4], [0.25, 0.0, 0.3], [0.25, 0.0, 0.2], [0.25, 0.0, 0.1]])
    mask = among_top(tied, top)
    assert mask.sum(0).tolist() == [min(top, 4)] * 3
    assert mask[:, 2].tolist() == [k < top for k in range(4)]


def test_pick_draws_every_candidate_and_nothing_else() -> None:
    mask = torch.tensor([[False, True, False, True, True], [False] * 5, [True] * 5])
    picked = pick(mask, torch.tensor([0.0, 0.34, 0.67, 1.0 - 2**-24]).expand(3, 4))
    assert picked[0].tolist() == [1, 3, 4, 4]
    assert picked[2].tolist() == [0, 1, 3, 4]
    assert ((picked >= 0) & (picked < 5)).all()


def test_a_prototype_is_the_mean_of_the_centres_so_far() -> None:
    contrast = make(replace(OPTIONS, positive="prototype"))
    centres = [torch.randn(6, 4, generator=torch.Generator().manual_seed(k)) for k in range(3)]
    present = torch.tensor([True] * 5 + [False])
    for each in centres:
        contrast._prototypes(each, present)
    assert torch.allclose(contrast.prototypes[:5], torch.stack(centres).mean(0)[:5], atol=1e-6)
    assert not contrast.prototypes[5].any()


@pytest.mark.parametrize("positive", ["centre", "prototype"])
def test_a_restored_term_goes_on_as_if_it_had_never_stopped(positive: Any) -> None:
    options = replace(OPTIONS, positive=positive)
    one, two = make(options), UnreliableContrast(options, 6, 4, CPU, 99)
    one(make_batch(0), features_of(0))
    two.load_state_dict(one.state_dict())
    assert torch.equal(one(make_batch(1), features_of(1))[0], two(make_batch(1), features_of(1))[0])


def test_impossible_options_are_refused() -> None:
    with pytest.raises(ConfigError, match="rank_low < rank_high"):
        replace(OPTIONS, rank_low=5)
    with pytest.raises(ConfigError, match="above 0"):
        replace(OPTIONS, temperature=0.0)
