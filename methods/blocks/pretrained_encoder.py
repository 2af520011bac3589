"""Published encoder weights from a local file whose name carries its SHA-256."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor, nn

from harness.metrics.weights import weights_folder
from harness.types import MissingAsset

_PREFIXES = ("module.", "backbone.", "encoder.")
_NAME = re.compile(r"(?P<stem>.+)-(?P<digest>[0-9a-f]{8,64})\.(?P<kind>pth|safetensors)")


def load_pretrained(
    encoder: nn.Module, name: str, rename: Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]]
) -> None:
    """Fill ``encoder`` from the file ``name`` in the folder of weights; ``rename`` brings its names to the encoder's.

    A file's name ends in at least 8 digits of its SHA-256, as PyTorch's own do: ``resnet101_v1c-e67eebb6.pth``. A
    ``name`` without digits and ending, ``resnet101_v1c``, means the one file of that name here. Entries that the
    encoder lacks, such as a classifier, are left out. Raises MissingAsset where the file is missing, is another one,
    or does not hold all of the encoder.
    """
    path, digest, kind = _locate(name)
    remedy = f"Put it into {path.parent}, set PARALLAX_WEIGHTS to its folder, or set pretrained=none."
    try:
        payload = path.read_bytes()
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise MissingAsset(f"cannot read weights {path}: {reason}", where="pretrained", remedy=remedy) from error
    found = hashlib.sha256(payload).hexdigest()
    if not found.startswith(digest):
        what = f"{path} has SHA-256 {found[:12]}..., not {digest}..."
        raise MissingAsset(what, where="pretrained", remedy=remedy)
    state = rename({_bare(key): value for key, value in _read(payload, kind, path.name, remedy).items()})
    wanted = encoder.state_dict()
    counters = {key for key in wanted if key.endswith("num_batches_tracked")}
    wrong = [key for key in wanted if key not in counters and not _fits(wanted[key], state.get(key))]
    if wrong:
        what = f"{path.name} does not fit the network in {len(wrong)} of {len(wanted)} tensors, first {wrong[0]}"
        raise MissingAsset(what, where="pretrained", remedy=remedy)
    encoder.load_state_dict({key: state[key] for key in wanted if key in state}, strict=False)


def _locate(name: str) -> tuple[Path, str, str]:
    folder = weights_folder()
    match = _NAME.fullmatch(name)
    if match is not None and Path(name).name == name:
        return folder / name, match["digest"], match["kind"]
    matches = [found for path in sorted(folder.glob("*")) if (found := _NAME.fullmatch(path.name))]
    named = [found for found in matches if found["stem"] == name]
    if len(named) != 1:
        what = f"{len(named)} files {name}-DIGEST.pth or {name}-DIGEST.safetensors in {folder}"
        remedy = "Put one there that carries the first 8 or more digits of its SHA-256, or set pretrained=none."
        raise MissingAsset(what, where="pretrained", remedy=remedy)
    return folder / named[0].string, named[0]["digest"], named[0]["kind"]


def _read(payload: bytes, kind: str, name: str, remedy: str) -> Mapping[str, Tensor]:
    try:
        if kind == "safetensors":
            return safetensors.torch.load(payload)
        state = torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file fails in many ways, and none of them runs its code
        raise MissingAsset(f"{name} is not a state dict: {error}", where="pretrained", remedy=remedy) from error
    return state.get("state_dict", state)


def _bare(key: str) -> str:
    for prefix in _PREFIXES:
        key = key.removeprefix(prefix)
    return key


def _fits(wanted: Tensor, found: Tensor | None) -> bool:
    return found is not None and found.shape == wanted.shape
