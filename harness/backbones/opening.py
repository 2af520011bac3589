"""Backbones by name."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path

import torch
from safetensors.torch import save

from harness.backbones.backbone import Backbone
from harness.backbones.convnet import STRIDES, WIDTHS, untrained
from harness.backbones.pretraining import Recipe, native_precision
from harness.backbones.shelf import open_trained
from harness.types import ConfigError, digest_of

RECIPES = {
    "proc-features": Recipe(steps=300, pool=200),
    "proc-features-mini": Recipe(steps=12, pool=8),
}
NAMES = ("random-features", *RECIPES)


def open_backbone(
    name: str, assets: Path, *, device: torch.device | str = "cpu", stages: Sequence[int] | None = None
) -> Backbone:
    """The frozen backbone ``name`` with weights kept under ``assets``.

    ``stages`` are the places of the wanted maps, ascending, 0 the finest; what comes after the last is not computed.
    ``proc-features`` and ``proc-features-mini`` are trained on their first use on a machine. Raises ConfigError for
    another name or place, and what ``open_trained`` raises.
    """
    if name not in NAMES:
        raise ConfigError(
            f"unknown backbone {name!r}",
            where="open_backbone",
            nearest=get_close_matches(name, NAMES, 1, 0.0),
            remedy=f"Known: {', '.join(NAMES)}.",
        )
    report: Mapping[str, float] = {}
    if name in RECIPES:
        recipe = replace(RECIPES[name], precision=native_precision())
        net, weights, report = open_trained(name, recipe, assets / "backbones")
    else:
        net = untrained()
        weights = hashlib.sha256(save(net.state_dict())).hexdigest()
    channels, strides = WIDTHS, STRIDES
    places = _places(name, stages, len(channels))
    return Backbone(
        name=name,
        digest=digest_of([name, weights, list(places)]),
        channels=tuple(channels[i] for i in places),
        strides=tuple(strides[i] for i in places),
        places=places,
        network=net.to(device).requires_grad_(False),
        device=torch.device(device),
        report=report,
    )


def _places(name: str, wanted: Sequence[int] | None, available: int) -> tuple[int, ...]:
    places = tuple(range(available)) if wanted is None else tuple(wanted)
    if not places or sorted(set(places)) != list(places) or places[0] < 0 or places[-1] >= available:
        raise ConfigError(f"stages must be ascending places from 0 to {available - 1}, not {list(places)}", where=name)
    return places
