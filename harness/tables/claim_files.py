"""Claims as data: ``claims/<suite>.yaml`` beside the suite, read safely and checked against methods and metrics.

A file is a list of ``claims``, ``defaults`` for their fields and a text ``about`` them. A row is named by its label in
the tables (``uniad[mode=separate]``, ``floor:noise``); treatment and control are a row, a number, or the difference of
two rows (``{row: uniad, minus: "uniad[mode=separate]"}``), in the claim's metric and data or, with the keys ``metric``
and ``data``, in another column or on data with other options, ``times`` a number; several controls: the claim must hold
against each. A ``gate`` names claims without which this one is void.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness import registry
from harness.naming import TIERS, nearest, unknown
from harness.suite_files import Suite
from harness.tables.claim_terms import JUDGED_TIERS, Claim, Term
from harness.tables.columns import STYLES, metric_of
from harness.types import ConfigError
from harness.yaml_files import read_yaml

TESTS = ("sign_flip",)
_STATED = ("id", "text", "source")
_TESTED = ("metric", "direction", "treatment", "control", "smallest_effect", "unit")
_OPTIONAL = ("test", "tier", "budget", "data", "note", "untestable", "gate")
_LABEL = re.compile(r"((?:floor:|oracle:)?[a-z][a-z0-9_]*)(?:\[(.+)\])?")


def claimed_suites() -> list[str]:
    """Suites that state claims."""
    return [name for name, path in registry.suites().items() if _place(path, name).is_file()]


def read_claims(suite: Suite) -> tuple[list[Claim], str]:
    """The claims of a suite in the order of its file, and what the file says about them.

    Raises ConfigError naming the file, the claim and the field.
    """
    path = _place(suite.path, suite.name)
    if not path.is_file():
        remedy = f"Claims of a suite stand in {path.parent.name}/{path.name} beside it."
        raise ConfigError(f"suite {suite.name} states no claims", nearest=claimed_suites(), remedy=remedy)
    raw, where = read_yaml(path), str(path)
    _known(raw, ("about", "claims", "defaults"), where)
    entries, defaults = raw.get("claims"), raw.get("defaults") or {}
    if not isinstance(entries, list) or not entries or not all(isinstance(entry, dict) for entry in entries):
        raise ConfigError("claims: must be a list of claims", where=where)
    if not isinstance(defaults, dict):
        raise ConfigError("defaults: must be a mapping", where=where)
    _known(defaults, ("source", "unit", *_OPTIONAL), f"{where}: defaults")
    claims = [_claim({**defaults, **entry}, suite, where) for entry in entries]
    names = [claim.id for claim in claims]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"two claims are called {name!r}", where=where)
    for claim in claims:
        for gate in claim.gates:
            if gate not in names or gate == claim.id:
                raise unknown("gate", gate, [name for name in names if name != claim.id], f"{where}: {claim.id}")
    return claims, _text(raw, "about", where) if "about" in raw else ""


def canonical(label: str) -> str:
    """A row's label with its overrides in order and each value in one spelling: ``a[y=1.0,x=True]`` and
    ``a[x=true,y=1]`` name the same row."""
    found = _LABEL.fullmatch(label.replace(" ", ""))
    if not found or not found[2]:
        return label.replace(" ", "")
    return f"{found[1]}[{','.join(f'{key}={value}' for key, value in sorted(_overrides(found[2]).items()))}]"


# -------------------------------------------------------------------------------------------------------- parts
def _place(suite: Path, name: str) -> Path:
    return suite.parent / "claims" / f"{name}.yaml"


def _claim(raw: Mapping[str, Any], suite: Suite, path: str) -> Claim:
    where = f"{path}: {raw.get('id', 'a claim without id')}"
    _known(raw, (*_STATED, *_TESTED, *_OPTIONAL), where)
    untestable = raw.get("untestable")
    for key in (*_STATED, *(() if untestable else _TESTED)):
        if raw.get(key) is None:
            raise ConfigError(f"the field {key!r} is missing", where=where, nearest=nearest(key, raw))
    texts = {key: _text(raw, key, where) for key in (*_STATED, "unit", "note", "untestable") if key in raw}
    stated = Claim(suite.name, texts.pop("id"), texts.pop("text"), texts.pop("source"), tiers=_tiers(raw, where))
    if untestable:
        return replace(stated, note=texts.get("note", ""), untestable=texts["untestable"])
    metric, effect = _metric(raw, where), raw["smallest_effect"]
    if not _is_number(effect) or not 0 <= effect < math.inf:
        raise ConfigError(f"smallest_effect: {effect!r} must be a number of at least 0", where=where)
    control = raw["control"]
    controls = tuple(_term(entry, suite, where) for entry in (control if isinstance(control, list) else [control]))
    if not controls:
        raise ConfigError("control: the list is empty", where=where)
    return replace(
        stated,
        metric=metric,
        direction=_one_of("direction", raw["direction"], ("higher", "lower"), where),
        treatment=_term(raw["treatment"], suite, where),
        controls=controls,
        smallest_effect=float(effect),
        unit=texts["unit"],
        test=_one_of("test", raw.get("test", TESTS[0]), TESTS, where),
        budget=_one_of("budget", raw.get("budget", "claims"), {b for v in suite.budget.values() for b in v}, where),
        data=_data(raw, where),
        note=texts.get("note", ""),
        gates=_gates(raw, where),
    )


def _gates(raw: Mapping[str, Any], where: str) -> tuple[str, ...]:
    given = raw.get("gate", [])
    gates = tuple(given) if isinstance(given, list) else (given,)
    if not all(isinstance(gate, str) for gate in gates):
        raise ConfigError(f"gate: {given!r} must be the id of a claim, or a list of them", where=where)
    return gates


def _term(raw: Any, suite: Suite, where: str) -> Term:
    if _is_number(raw) and math.isfinite(raw):
        return Term(constant=float(raw))
    if isinstance(raw, str):
        return Term(row=_row(raw, suite, where))
    if isinstance(raw, dict) and raw.get("row") is not None:
        _known(raw, ("row", "minus", "metric", "data", "times"), where)
        times = raw.get("times", 1.0)
        if not _is_number(times) or not 0 < times < math.inf:
            raise ConfigError(f"times: {times!r} must be a number above 0", where=where)
        rows = [raw[key] for key in ("row", "minus") if key in raw]
        if len(raw) > 1 and all(isinstance(label, str) for label in rows):
            labels = [_row(label, suite, where) for label in rows]
            return Term(
                row=labels[0],
                minus=labels[1] if "minus" in raw else "",
                metric=_metric(raw, where) if "metric" in raw else "",
                data=_data(raw, where),
                times=float(times),
            )
    raise ConfigError(
        f"{raw!r} is no row, number or difference",
        where=where,
        remedy='Write uniad, 0.5 or {row: uniad, minus: "uniad[mode=separate]"}.',
    )


def _metric(raw: Mapping[str, Any], where: str) -> str:
    metric = _text(raw, "metric", where)
    if metric_of(metric) not in STYLES:
        raise unknown("metric", metric, STYLES, where)
    return metric


def _data(raw: Mapping[str, Any], where: str) -> dict[str, Any]:
    data = raw.get("data") or {}
    if not isinstance(data, dict):
        raise ConfigError("data: must map options of the data set to values", where=where)
    return data


def _row(label: str, suite: Suite, where: str) -> str:
    """The canonical label of a row that can exist: a reference of the suite, or a method with keys of its presets."""
    found = _LABEL.fullmatch(label.replace(" ", ""))
    if not found:
        raise ConfigError(f"{label!r} is no row label", where=where, remedy="Write method[key=value].")
    name, overrides = found[1], _overrides(found[2] or "")
    if ":" in name:
        parts = (part.get("references", ()) for part in suite.parts.values())
        references = dict.fromkeys(itertools.chain(suite.references, *parts))
        if name not in references or overrides:
            raise unknown("reference row", label, references, where)
        return name
    methods = registry.methods()
    if name not in methods and name not in registry.scan().broken:
        raise unknown("method", name, methods, where)
    if name in methods:
        entry = methods[name]
        base = overrides.get("base", "") if entry.card.base else ""
        keys = {key for tier in entry.tiers for key in entry.preset(tier, base=base)}
        for key, value in overrides.items():
            if key not in keys:
                raise unknown(f"key of {name}:", key, keys, where)
            allowed = [_spelling(str(choice)) for choice in entry.card.switches.get(key, ())]
            if allowed and value not in allowed:
                raise unknown(f"value of {name}.{key}:", value, allowed, where)
    return canonical(label)


def _overrides(text: str) -> dict[str, str]:
    """``a=1,b=[2,3]`` -> {"a": "1", "b": "[2,3]"}; commas inside brackets do not separate."""
    parts, depth = [""], 0
    for sign in text:
        depth += {"[": 1, "]": -1}.get(sign, 0)
        if sign == "," and not depth:
            parts.append("")
        else:
            parts[-1] += sign
    pairs = (part.partition("=") for part in parts if part)
    return {key: _spelling(value) for key, _, value in pairs}


def _spelling(value: str) -> str:
    value = value.replace("'", "").replace('"', "")
    try:
        return f"{float(value):g}"
    except ValueError:
        return value.lower() if value in ("True", "False") else value


def _tiers(raw: Mapping[str, Any], where: str) -> tuple[str, ...]:
    given = raw.get("tier", list(JUDGED_TIERS))
    return tuple(_one_of("tier", tier, TIERS, where) for tier in (given if isinstance(given, list) else [given]))


def _one_of(key: str, value: Any, allowed: Iterable[str], where: str) -> Any:
    if value not in tuple(allowed):
        raise unknown(f"{key}:", str(value), allowed, where)
    return value


def _known(raw: Mapping[str, Any], allowed: Iterable[str], where: str) -> None:
    for key in raw:
        if key not in tuple(allowed):
            raise unknown("field", key, allowed, where)


def _text(raw: Mapping[str, Any], key: str, where: str) -> str:
    value = raw[key]
    if not isinstance(value, str) or not value.strip():
        raise ConfigError(f"{key}: {value!r} must be text", where=where)
    return " ".join(value.split())


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
