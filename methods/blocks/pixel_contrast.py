"""Contrast of single pixels: anchors, class centres, negative keys and their InfoNCE, for all classes at once.

U2PL (Wang et al., CVPR 2022, arXiv 2203.03884). Pixels are the P = B h w cells of the representation's
grid in the order of the images; masks are bool [C,P], one row per class.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from methods.blocks.class_queues import below

NegativeSource = Literal["unreliable", "reliable", "all", "none"]


@dataclass(frozen=True)
class ContrastBatch:
    """What the contrast sees of a batch, on one grid; the first ``labelled`` images carry true labels.

    ``keys`` [B,R,h,w] and ``probabilities`` [B,C,h,w] of the teacher, ``labels`` int64 [B,h,w] (true ones, then
    pseudo-labels; 255 is in no class). ``confident`` bool [B,h,w]: unlabelled pixels that may be anchors, ``source``
    those that may be negatives; both are not looked at for labelled images.
    """

    keys: Tensor
    probabilities: Tensor
    labels: Tensor
    confident: Tensor
    source: Tensor
    labelled: int


def by_pixel(maps: Tensor) -> Tensor:
    """Maps [B,D,h,w] as rows [B h w, D]."""
    return maps.permute(0, 2, 3, 1).flatten(0, 2)


def by_class(maps: Tensor) -> Tensor:
    """Maps [B,C,h,w] as rows [C, B h w]."""
    return maps.transpose(0, 1).flatten(1)


def members(labels: Tensor, classes: int) -> Tensor:
    """Mask [C,P] of the pixels labelled with each class, from int64 [B,h,w]."""
    return labels.flatten() == torch.arange(classes, device=labels.device)[:, None]


def among_top(probabilities: Tensor, top: int) -> Tensor:
    """Mask of the ``top`` likeliest classes of every pixel of probabilities [C,P]; exactly so many on ties."""
    if top >= len(probabilities):
        return torch.ones_like(probabilities, dtype=torch.bool)
    mask = torch.zeros_like(probabilities, dtype=torch.bool)
    return mask if top <= 0 else mask.scatter_(0, probabilities.topk(top, dim=0).indices, True)


def anchor_candidates(batch: ContrastBatch, threshold: float) -> Tensor:
    """Mask [C,P]: pixels of class c, labelled or confident, to which the teacher gives p(c) > ``threshold``."""
    return confident_members(batch) & (by_class(batch.probabilities) > threshold)


def confident_members(batch: ContrastBatch) -> Tensor:
    """Mask [C,P]: pixels of class c that are labelled, or unlabelled and confident."""
    allowed = batch.confident.clone()
    allowed[: batch.labelled] = True
    return members(batch.labels, batch.probabilities.shape[1]) & allowed.flatten()


def negative_candidates(batch: ContrastBatch, low: int, high: int) -> Tensor:
    """Mask [C,P] of the pixels that enter queue c.

    With O(c) the rank of class c in the teacher's probabilities, 0 the likeliest: a labelled pixel of another class
    with O(c) < ``low`` (a hard negative), an unlabelled one of the source with ``low`` <= O(c) < ``high`` (c is
    unlikely).
    A labelled pixel whose label is 255 is no negative of any class.
    """
    probabilities, labels = by_class(batch.probabilities), batch.labels.flatten()
    guessed = among_top(probabilities, low)
    band = among_top(probabilities, high) & ~guessed & batch.source.flatten()
    hard = guessed & ~members(batch.labels, len(probabilities)) & (labels != 255)
    split = batch.labelled * batch.labels[0].numel()
    return torch.cat([hard[:, :split], band[:, split:]], 1)


def pick(mask: Tensor, uniform: Tensor) -> Tensor:
    """Columns int64 [C,M] drawn with replacement among the True ones of each row of ``mask`` [C,P].

    ``uniform`` [C,M] in [0,1) picks; a row without True gives some valid column.
    """
    order = mask.cumsum(1)
    chosen = below(uniform, order[:, -1:]) + 1
    return torch.searchsorted(order, chosen).clamp(max=mask.shape[1] - 1)


def class_centres(mask: Tensor, keys: Tensor) -> Tensor:
    """Mean [C,R] of ``keys`` [P,R] over each row of ``mask`` [C,P]; 0 for an empty row."""
    weights = mask.to(keys.dtype)
    return weights @ keys / weights.sum(1, keepdim=True).clamp(min=1.0)


def cosines(anchors: Tensor, positives: Tensor, negatives: Tensor) -> tuple[Tensor, Tensor]:
    """Cosine of ``anchors`` [C,M,R] with ``positives`` [C,R] and ``negatives`` [C,M,N,R]: [C,M] and [C,M,N].

    Gradients reach the anchors alone.
    """
    positives, negatives = positives.detach(), negatives.detach()
    unit = F.normalize(anchors, dim=-1)
    positive = (unit * F.normalize(positives, dim=-1)[:, None]).sum(-1)
    lengths = torch.linalg.vector_norm(negatives, dim=-1).clamp(min=1e-12)
    return positive, (negatives @ unit[..., None]).squeeze(-1) / lengths


def info_nce(positive: Tensor, negative: Tensor, temperature: float) -> Tensor:
    """-log(e^(p/t) / (e^(p/t) + sum_j e^(n_j/t))) of cosines [C,M] and [C,M,N], averaged over anchors: [C]."""
    logits = torch.cat([positive[..., None], negative], -1) / temperature
    return (torch.logsumexp(logits, -1) - logits[..., 0]).mean(1)
