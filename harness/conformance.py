"""Conformance tests for a method folder: what ``python -m harness check FOLDER`` runs.

Each check builds on the one before, so the first failure ends the list. Everything happens at the smoke preset, on the
CPU, with made-up pictures: no data set is built.
"""

from __future__ import annotations

import copy
import math
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness import conformance_anomalies, conformance_fields, conformance_generators, conformance_segments, registry
from harness.console import columns
from harness.specimen import Nonconforming, Specimen, build, own_randomness, tensors, train
from harness.types import ConfigError, HarnessError

NEEDED_MEMBERS: Mapping[str, tuple[str, ...]] = {
    "generates": ("latents", "sample"),
    "radiance_field": ("codes", "mean_code", "render_codes", "density"),
    "scores_anomalies": ("anomaly",),
    "segments": ("segment",),
}
STEPS = 2
Check = tuple[str, Callable[[Specimen], str]]


@dataclass(frozen=True)
class Finding:
    """Result of one check: ``ok``, what was seen or what is wrong, and the seconds it took."""

    check: str
    ok: bool
    detail: str
    seconds: float = 0.0


def examine(folder: str) -> list[Finding]:
    """Run every check on a method folder or name, stopping at the first failure."""
    state, findings = Specimen(folder), list[Finding]()
    pending = list(CHECKS)
    for title, check in pending:  # grows by the checks of its capabilities once the general ones are passed
        started = time.perf_counter()
        try:
            detail, ok = check(state), True
        except (Nonconforming, HarnessError) as error:
            detail, ok = str(error), False
        except Exception as error:  # a method's own mistake of any kind is a finding, not a crash
            detail, ok = f"{type(error).__name__}: {error}", False
        findings.append(Finding(title, ok, detail, time.perf_counter() - started))
        if not ok:
            break
        if state.entry is not None and len(findings) == len(CHECKS):
            pending += [check for name in state.entry.card.capabilities for check in CAPABILITY_CHECKS.get(name, ())]
    return findings


def report(folders: Sequence[str]) -> int:
    """Print the findings on each folder; 0 where all passed, else 2."""
    if not folders:
        raise ConfigError("no method folder given", where="check", remedy="python -m harness check path/to/folder")
    failed = False
    for folder in folders:
        findings = examine(folder)
        names = [name for name, _ in CHECKS]
        rows = [[f.check, "passed" if f.ok else "FAILED", f"{f.seconds:.2f} s", f.detail] for f in findings]
        rows += [[name, "not run", "", ""] for name in names[len(findings) :]]
        print(f"{folder}\n{columns(['check', 'result', 'time', 'detail'], rows)}")
        bad = [f for f in findings if not f.ok]
        print(f"{folder}: {f'fails at {bad[0].check!r}' if bad else f'passes all {len(findings)} checks'}\n")
        failed = failed or bool(bad)
    return 2 if failed else 0


# ------------------------------------------------------------------------------------------------------ the checks
def _card_found(state: Specimen) -> str:
    state.entry = registry.find(state.folder)
    return f"{state.entry.name}: {state.entry.card.title}"


def _presets(state: Specimen) -> str:
    entry = state.found
    state.preset = entry.preset("smoke")
    for tier in entry.tiers:
        different = set(entry.preset(tier)) ^ set(state.preset)
        if different:
            raise Nonconforming(f"{tier}.yaml and smoke.yaml differ in the keys {', '.join(sorted(different))}")
    for tier, setting in entry.overlays:
        entry.preset(tier, setting)  # its keys are those of the preset
    missing = set(entry.card.switches) - set(state.preset)
    if missing:
        raise Nonconforming(f"switches of the card that are no keys of the presets: {', '.join(sorted(missing))}")
    return f"{', '.join(entry.tiers)}; {len(state.preset)} keys"


def _class(state: Specimen) -> str:
    entry, made = state.found, registry.load(state.folder)
    needed = ["train_step", "state_dict", "load_state_dict", "stages"]
    for capability in entry.card.capabilities:
        if capability not in NEEDED_MEMBERS:
            raise Nonconforming(f"unknown capability {capability!r}; known: {', '.join(NEEDED_MEMBERS)}")
        needed += NEEDED_MEMBERS[capability]
    missing = [name for name in needed if not hasattr(made, name)]
    if missing:
        raise Nonconforming(f"{made.__name__} lacks {', '.join(missing)}")
    shares = sum(stage.share for stage in made.stages)
    if not made.stages or not math.isclose(shares, 1.0, abs_tol=1e-6):
        raise Nonconforming(f"the shares of its stages add up to {shares:g}, not 1")
    if getattr(made, "reveals", ()) and not entry.card.oracle:
        raise Nonconforming(f"{made.__name__} reveals hidden fields, so that its card needs 'oracle: true'")
    state.made = made
    return f"{made.__name__}, {len(made.stages)} stage(s)"


def _construction(state: Specimen) -> str:
    state.model, state.context = build(state)
    if state.preset != state.found.preset("smoke"):
        raise Nonconforming("the constructor changed its configuration")
    count = sum(tensor.numel() for tensor in tensors(state.model.state_dict()))
    return f"{count:,} numbers of state"


def _training(state: Specimen) -> str:
    before = copy.deepcopy(tensors(state.model.state_dict()))
    if hasattr(state.model, "prepare"):
        before = tensors(build(state, prepared=False)[0].state_dict())  # a closed form is fitted before any step
    with own_randomness("train_step"):
        losses = train(state, state.model, STEPS)
    after = tensors(state.model.state_dict())
    if not all(tensor.isfinite().all() for tensor in after):
        raise Nonconforming("train_step left NaN or infinity in the state")
    if len(before) == len(after) and all(a.equal(b) for a, b in zip(before, after, strict=True)):
        raise Nonconforming(f"{STEPS} training steps changed nothing")
    return ", ".join(f"{name} {value:.3g}" for name, value in losses.items())


def _determinism(state: Specimen) -> str:
    again, _ = build(state)
    train(state, again, STEPS)
    for a, b in zip(tensors(state.model.state_dict()), tensors(again.state_dict()), strict=True):
        if not a.equal(b):
            raise Nonconforming("the same seed and batches gave different weights")
    return "the same seed gives the same weights"


def _round_trip(state: Specimen) -> str:
    from harness.running import checkpoint

    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "checkpoint.safetensors"
        path.write_bytes(checkpoint.to_bytes(state.model.state_dict()))
        restored = checkpoint.load(path)
    twin, context = build(state)
    twin.load_state_dict(restored)
    context.generator.manual_seed(7)
    state.context.generator.manual_seed(7)
    first, second = train(state, state.model, STEPS), train(state, twin, STEPS)
    if first != second:
        raise Nonconforming(f"a restored method goes on differently: {first} and {second}")
    return "saved, restored, and goes on alike"


CHECKS: tuple[Check, ...] = (
    ("card", _card_found),
    ("presets", _presets),
    ("class", _class),
    ("construction", _construction),
    ("training", _training),
    ("determinism", _determinism),
    ("state", _round_trip),
)
CAPABILITY_CHECKS: Mapping[str, tuple[Check, ...]] = {
    "generates": conformance_generators.CHECKS,
    "radiance_field": conformance_fields.CHECKS,
    "scores_anomalies": conformance_anomalies.CHECKS,
    "segments": conformance_segments.CHECKS,
}
