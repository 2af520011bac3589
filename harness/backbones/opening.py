"""Backbones by name."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path

import torch
from torch import nn

from harness.backbones.backbone import Backbone
from harness.backbones.convnet import STRIDES, WIDTHS, untrained
from harness.backbones.pretraining import Phase, Recipe, native_precision
from harness.backbones.published import PUBLISHED, open_published
from harness.backbones.shelf import open_trained, weights_of
from harness.types import ConfigError, digest_of

RECIPES = {
    "proc-features": Recipe((Phase(32, 64, 1400), Phase(64, 32, 650)), pool=240, held_out=50),
    "proc-features-mini": Recipe((Phase(32, 48, 80), Phase(64, 32, 15)), pool=16, held_out=10),
}
UNTRAINED = "random-features"
NAMES = (*RECIPES, UNTRAINED, *PUBLISHED)


def open_backbone(
    name: str, assets: Path, *, device: torch.device | str = "cpu", stages: Sequence[int] | None = None
) -> Backbone:
    """The frozen backbone ``name``.

    ``stages`` are the wanted maps in the wanted order, 1 the finest; None means all. What comes after the deepest of
    them is never computed. ``proc-features`` and ``proc-features-mini`` are trained on their first use on a machine
    and kept under ``assets``; published networks are read from their weights file. Raises ConfigError for another name
    or stage, MissingAsset where a weights file is not on this machine, and what ``open_trained`` raises.
    """
    if name not in NAMES:
        raise ConfigError(
            f"unknown backbone {name!r}",
            where="open_backbone",
            nearest=get_close_matches(name, NAMES, 1, 0.0),
            remedy=f"Known: {', '.join(NAMES)}.",
        )
    published = PUBLISHED.get(name)
    channels, strides = (published.channels, published.strides) if published else (WIDTHS, STRIDES)
    wanted = tuple(range(1, len(channels) + 1)) if stages is None else tuple(stages)
    if not wanted or len(set(wanted)) < len(wanted) or not set(wanted) <= set(range(1, len(channels) + 1)):
        raise ConfigError(
            f"{list(wanted)} are not different stages of {name}",
            where="open_backbone",
            remedy=f"Choose from 1 to {len(channels)}.",
        )
    network, weights, report = _opened(name, assets)
    return Backbone(
        name=name,
        digest=digest_of([name, weights]),
        channels=tuple(channels[stage - 1] for stage in wanted),
        strides=tuple(strides[stage - 1] for stage in wanted),
        wanted=wanted,
        network=network.to(device).requires_grad_(False),
        device=torch.device(device),
        report=report,
    )


def _opened(name: str, assets: Path) -> tuple[nn.Module, str, Mapping[str, float]]:
    """Network in eval mode, SHA-256 of its weights, report of its training."""
    if name in PUBLISHED:
        return open_published(PUBLISHED[name]), PUBLISHED[name].weights.sha256, {}
    if name in RECIPES:
        return open_trained(name, replace(RECIPES[name], precision=native_precision()), assets / "backbones")
    network = untrained()
    return network, hashlib.sha256(weights_of(network)).hexdigest(), {}
