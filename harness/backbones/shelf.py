"""The shelf of pretext-trained backbones: trained once per machine, kept as safetensors, opened by everyone."""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from harness.atomic import sha256_of, write_bytes
from harness.backbones import pretraining
from harness.backbones.convnet import ConvFeatures, untrained
from harness.backbones.pretraining import Recipe
from harness.codedigest import source_digest
from harness.leases import Busy, Lease
from harness.types import StoreError, digest_of

WEIGHTS, CARD = "weights.safetensors", "card.json"
CODE = ("convnet.py", "pretext.py", "pretraining.py")
"""Modules that determine the weights: a change of any of them opens a new folder."""

POLL = 0.5


def open_trained(
    name: str, recipe: Recipe, shelf: Path, *, wait_s: float = 3600.0
) -> tuple[ConvFeatures, str, Mapping[str, float]]:
    """Network, SHA-256 of its weights file and training report: read from ``shelf``, or first trained and put there.

    Two processes never train the same network: the second waits. A damaged folder is rebuilt with a warning. Raises
    Busy if another process has not finished after ``wait_s`` seconds, StoreError where the folder cannot be written.
    """
    identity = {
        "code": [source_digest((Path(__file__).parent / file).read_text(encoding="utf-8")) for file in CODE],
        "recipe": asdict(recipe),
    }
    folder = shelf / f"{name}-{digest_of(identity)[:16]}"
    deadline = time.monotonic() + wait_s
    while True:
        try:
            return _read(folder)
        except StoreError as damage:
            try:
                with Lease(folder / "lease"):
                    _build(folder, recipe, identity, damage)
            except Busy:
                if time.monotonic() > deadline:
                    raise
                time.sleep(POLL)


def weights_of(net: ConvFeatures) -> bytes:
    """The network's state as the bytes of a safetensors file."""
    return save({key: value.contiguous() for key, value in net.state_dict().items()})


def _build(folder: Path, recipe: Recipe, identity: Mapping[str, Any], damage: StoreError) -> None:
    if (folder / CARD).exists():
        try:
            _read(folder)  # another process was faster
            return
        except StoreError:
            warnings.warn(f"{damage}; it is trained again", stacklevel=2)
    net, report = pretraining.train(recipe)
    write_bytes(folder / WEIGHTS, weights_of(net))
    card = {
        "identity": identity,
        "report": asdict(report),
        "sha256": sha256_of(folder / WEIGHTS),
        "torch": torch.__version__,
    }
    write_bytes(folder / CARD, json.dumps(card, indent=1, sort_keys=True).encode())


def _read(folder: Path) -> tuple[ConvFeatures, str, Mapping[str, float]]:
    try:
        card = json.loads((folder / CARD).read_bytes())
        digest = sha256_of(folder / WEIGHTS)
        if digest != card["sha256"]:
            raise ValueError("the SHA-256 of its weights differs")
        net = untrained()
        net.load_state_dict(load((folder / WEIGHTS).read_bytes()))
        return net, digest, {key: float(value) for key, value in card["report"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, SafetensorError) as error:
        raise StoreError(f"the backbone cannot be read: {error}", where=str(folder)) from error
