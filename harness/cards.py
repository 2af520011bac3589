"""Cards and presets of methods: plain YAML files, checked before anything is imported."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.naming import TIERS, nearest, unknown
from harness.types import ConfigError
from harness.yaml_files import (
    NAME,
    check_fields,
    flag_of,
    is_scalar,
    mapping_of,
    read_yaml,
    refuse_code,
    text_of,
    texts_of,
)

CAPABILITIES = ("generates", "radiance_field", "scores_anomalies", "segments")
RESERVED = frozenset(
    [
        *("suite", "methods", "references", "seeds", "tier", "budget", "device", "precision", "executor", "workers"),
        *("threads", "rerun", "checkpoint_seconds", "store", "cache", "out", "data", "root", "settings"),
        *("floor", "oracle", "setting", "part"),
    ]
)
"""Words of the command line: no method may take one as its name."""

_REQUIRED = ("name", "title", "entry", "capabilities", "data")
_FIELDS = (
    *_REQUIRED,
    "paper",
    "controls_pose",
    "has_depth",
    "needs",
    "switches",
    "reported",
    "oracle",
    "base",
    "clashes",
)
_PAPER_FIELDS = ("title", "authors", "venue", "year", "arxiv", "doi", "url")
_ENTRY = re.compile(r"[A-Za-z_]\w*:[A-Za-z_]\w*")
COST_KEY = "seconds_per_kimg"

Scalar = str | int | float | bool | None


@dataclass(frozen=True)
class Clash:
    """``values`` maps keys of presets to the values that, taken together, cannot work; ``because`` says why."""

    values: Mapping[str, tuple[Scalar, ...]]
    because: str

    def holds(self, config: Mapping[str, Any]) -> bool:
        """Whether ``config`` has one of the values in every key."""
        return all(config.get(key) in values for key, values in self.values.items())


@dataclass(frozen=True)
class Card:
    """What a method says about itself without being imported; ``entry`` is ``module:attribute`` inside its folder.

    ``switches`` maps each ablation switch (a key of the presets) to its allowed values, empty when any will do. An
    ``oracle`` trains on what the setting hides: it bounds the others and holds no rank.

    ``clashes`` are values of presets' keys that cannot work together, each with the reason.

    A method that plugs into others names the capability of what it plugs into as ``base``; the key ``base`` of its
    presets then names one such method, whose preset lies under its own.
    """

    name: str
    title: str
    entry: str
    capabilities: tuple[str, ...]
    fields: tuple[str, ...]
    prior: str = "optional"
    paper: Mapping[str, Any] = field(default_factory=dict)
    controls_pose: bool = False
    has_depth: bool = False
    needs: Mapping[str, str] = field(default_factory=dict)
    switches: Mapping[str, tuple[Scalar, ...]] = field(default_factory=dict)
    reported: str | None = None
    oracle: bool = False
    base: str = ""
    clashes: tuple[Clash, ...] = ()


def read_card(folder: Path) -> Card:
    """The checked card of a method folder. Raises ConfigError naming the file and the field."""
    path = folder / "card.yaml"
    if not path.is_file():
        raise ConfigError(
            "no card.yaml in this folder", where=str(folder), remedy="A method is a folder with card.yaml and a class."
        )
    raw, where = read_yaml(path), str(path)
    check_fields(raw, _REQUIRED, _FIELDS, where)
    name, entry = text_of(raw, "name", where), text_of(raw, "entry", where)
    if not NAME.fullmatch(name) or name in RESERVED:
        raise ConfigError(
            f"name: {name!r} cannot be a method's name",
            where=where,
            remedy="Use lower case, digits and _, and none of the words of the command line.",
        )
    if not _ENTRY.fullmatch(entry):
        raise ConfigError(
            f"entry: {entry!r} must be module:attribute of a file inside the folder",
            where=where,
            remedy="For example method:HoloGAN for the class HoloGAN in method.py.",
        )
    module = folder / f"{entry.partition(':')[0]}.py"
    if not module.is_file() or module.resolve().parent != folder.resolve():
        raise ConfigError(
            f"entry: there is no {module.name} inside the folder",
            where=where,
            nearest=nearest(module.stem, (p.stem for p in folder.glob("*.py"))),
        )
    data = mapping_of(raw, "data", where)
    check_fields(data, ("fields",), ("fields", "prior"), f"{where}: data")
    capabilities = texts_of(raw, "capabilities", where)
    for capability in capabilities:
        if not NAME.fullmatch(capability):
            raise unknown("capability", capability, CAPABILITIES, f"{where}: capabilities")
    prior = data.get("prior", "optional")
    if prior not in ("required", "optional"):
        raise ConfigError(f"data.prior: {prior!r} must be required or optional", where=where)
    paper = mapping_of(raw, "paper", where)
    check_fields(paper, (), _PAPER_FIELDS, f"{where}: paper")
    reported = raw.get("reported")
    return Card(
        name=name,
        title=text_of(raw, "title", where),
        entry=entry,
        capabilities=capabilities,
        fields=texts_of(data, "fields", f"{where}: data"),
        prior=prior,
        paper=paper,
        controls_pose=flag_of(raw, "controls_pose", where),
        has_depth=flag_of(raw, "has_depth", where),
        needs={role: str(other) for role, other in mapping_of(raw, "needs", where).items()},
        switches=_switches(raw.get("switches", ()), where),
        reported=None if reported is None else str(reported),
        oracle=flag_of(raw, "oracle", where),
        base=_base(raw, where),
        clashes=_clashes(raw, where),
    )


def _clashes(raw: Mapping[str, Any], where: str) -> tuple[Clash, ...]:
    """Lines ``{key: value or values, ..., because: reason}``."""
    lines, made = raw.get("clashes", []), []
    for line in lines if isinstance(lines, list) else [lines]:
        values = {key: value for key, value in line.items() if key != "because"} if isinstance(line, dict) else {}
        if not values or not isinstance(line.get("because"), str):
            raise ConfigError("clashes: each needs keys with values, and because: the reason", where=where)
        listed = {key: tuple(value) if isinstance(value, list) else (value,) for key, value in values.items()}
        made.append(Clash(listed, line["because"]))
    return tuple(made)


def _base(raw: Mapping[str, Any], where: str) -> str:
    """The capability of the methods that this one plugs into; empty for a method of its own."""
    base = raw.get("base", "")
    if base and base not in CAPABILITIES:
        raise unknown("capability", str(base), CAPABILITIES, f"{where}: base")
    return str(base)


def read_preset(
    folder: Path, tier: str, setting: str = "", *, plugs: bool = False
) -> tuple[dict[str, Any], float | None]:
    """The preset of a tier (flat: scalars and lists of scalars) and the declared seconds per 1000 images, if any.

    A file ``<tier>.<setting>.yaml`` holds the keys that differ in that setting of a suite. A method that ``plugs`` into
    others names one as ``base`` and leaves the batch size to it.
    """
    path = folder / f"{tier}.yaml"
    if not path.is_file():
        there = [t for t in TIERS if (folder / f"{t}.yaml").is_file()]
        raise ConfigError(
            f"no preset for tier {tier!r}",
            where=str(folder),
            nearest=[f"tier={t}" for t in there],
            remedy=f"Write {path.name} or choose another tier.",
        )
    preset = _flat(path)
    overlay = folder / f"{tier}.{setting}.yaml"
    if setting and overlay.is_file():
        changes = _flat(overlay)
        for key in changes:
            if key not in (*preset, COST_KEY):
                raise unknown(f"key of {path.name}", key, preset, str(overlay))
        preset |= changes
    cost = preset.pop(COST_KEY, None)
    if plugs:
        if not isinstance(preset.get("base"), str) or "batch_size" in preset:
            raise ConfigError("needs a method's name as base, whose batch_size is the one", where=str(path))
        return preset, None if cost is None else float(cost)
    batch = preset.get("batch_size")
    if not isinstance(batch, int) or isinstance(batch, bool) or batch < 1:
        raise ConfigError("batch_size: every preset needs a positive whole number", where=str(path))
    return preset, None if cost is None else float(cost)


def _flat(path: Path) -> dict[str, Any]:
    values = read_yaml(path)
    for key, value in values.items():
        refuse_code(key, value, str(path))
        flat = all(is_scalar(v) for v in value) if isinstance(value, list) else is_scalar(value)
        if not flat or not key.isidentifier():
            raise ConfigError(f"{key}: a preset is flat: words, numbers, booleans, or lists of them", where=str(path))
    return values


def _switches(raw: Any, where: str) -> dict[str, tuple[Scalar, ...]]:
    if isinstance(raw, dict):
        return {key: tuple(values) if isinstance(values, list) else () for key, values in raw.items()}
    if isinstance(raw, (list, tuple)) and all(isinstance(item, str) for item in raw):
        return dict.fromkeys(raw, ())
    raise ConfigError("switches: must be a list of preset keys, or a mapping of keys to allowed values", where=where)
