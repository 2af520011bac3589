"""Suites: one comparison as data, in a YAML file that is checked before anything is imported."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from harness.naming import PRECISIONS, TIERS, unknown
from harness.types import ConfigError
from harness.yaml_files import NAME, check_fields, mapping_of, read_yaml, text_of, texts_of

_REQUIRED = ("name", "title", "protocol", "data", "methods", "budget")
_FIELDS = (*_REQUIRED, "references", "seeds", "tier", "precision", "settings", "variants", "parts")
_VARIANT_FIELDS = ("methods", "references")
_PART_FIELDS = ("methods", "references", "data", "protocol", "budget", "settings")
MAIN = "main"
"""What the words of a command line call the part of a suite that its own fields describe."""


@dataclass(frozen=True)
class Suite:
    """One comparison as data: which methods on which samples, under which budget (images), scored by which protocol.

    ``precision`` is that of all its arms unless a run says otherwise. Where one question is asked in several settings,
    ``variants`` maps each to what it changes (``methods``, ``references``), the first being the default; ``setting``
    names the chosen one. It becomes the data's option ``setting`` and chooses the presets' overlays.

    ``parts`` are further comparisons that a run of the suite does too: each maps to the fields in which it differs;
    ``part`` says which one this is.
    """

    name: str
    title: str
    protocol: str
    data: Mapping[str, Any]
    methods: tuple[str, ...]
    budget: Mapping[str, Mapping[str, int]]
    references: tuple[str, ...] = ()
    seeds: int = 1
    tier: str = "micro"
    precision: str = "auto"
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    path: Path = Path()
    variants: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    setting: str = ""
    parts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    part: str = MAIN

    def in_part(self, name: str) -> Suite:
        """This suite in one of its parts, ``main`` being itself. Raises ConfigError with the nearest names."""
        if name != MAIN and name not in self.parts:
            raise unknown("part", name, (MAIN, *self.parts), str(self.path))
        return replace(self, part=name, **self.parts.get(name, {}))

    def in_setting(self, name: str) -> Suite:
        """This suite in one of its settings. Raises ConfigError with the nearest names."""
        if name not in self.variants:
            raise unknown("setting", name, self.variants, str(self.path))
        options = {**(self.data.get("options") or {}), "setting": name}
        changes: dict[str, Any] = {key: tuple(value) for key, value in self.variants[name].items()}
        return replace(self, data={**self.data, "options": options}, setting=name, **changes)


def read_suite(path: Path) -> Suite:
    """A checked suite. Raises ConfigError naming the file and the field."""
    raw, where = read_yaml(path), str(path)
    check_fields(raw, _REQUIRED, _FIELDS, where)
    data = mapping_of(raw, "data", where)
    check_fields(data, ("name",), ("name", "options"), f"{where}: data")
    budget = _budget(raw, where)
    tier = raw.get("tier", "micro")
    if tier not in TIERS:
        raise unknown("tier", str(tier), TIERS, f"{where}: tier")
    precision = raw.get("precision", "auto")
    if precision not in PRECISIONS:
        raise unknown("precision", str(precision), PRECISIONS, f"{where}: precision")
    seeds = raw.get("seeds", 1)
    if not isinstance(seeds, int) or isinstance(seeds, bool) or seeds < 1:
        raise ConfigError(f"seeds: {seeds!r} must be a positive whole number", where=where)
    settings = _settings(raw, where)
    variants = {name: mapping_of(mapping_of(raw, "variants", where), name, where) for name in raw.get("variants") or {}}
    for name, changes in variants.items():
        check_fields(changes, (), _VARIANT_FIELDS, f"{where}: variants.{name}")
        variants[name] = {key: texts_of(changes, key, f"{where}: variants.{name}") for key in changes}
    parts = {
        name: _part(mapping_of(mapping_of(raw, "parts", where), name, where), name, where)
        for name in raw.get("parts") or {}
    }
    return Suite(
        name=text_of(raw, "name", where),
        title=text_of(raw, "title", where),
        protocol=text_of(raw, "protocol", where),
        data=data,
        methods=texts_of(raw, "methods", where),
        budget=budget,
        references=texts_of(raw, "references", where) if "references" in raw else (),
        seeds=seeds,
        tier=tier,
        precision=precision,
        settings=settings,
        path=path,
        variants=variants,
        parts=parts,
    )


def _part(raw: Mapping[str, Any], name: str, suite: str) -> dict[str, Any]:
    """The fields in which a part of a suite differs, checked as the suite's own."""
    where = f"{suite}: parts.{name}"
    if name == MAIN or not NAME.fullmatch(name):
        raise ConfigError(f"{name!r} cannot be the name of a part", where=where, remedy="Use lower case, digits and _.")
    check_fields(raw, ("methods",), _PART_FIELDS, where)
    found: dict[str, Any] = {key: texts_of(raw, key, where) for key in ("methods", "references") if key in raw}
    if "protocol" in raw:
        found["protocol"] = text_of(raw, "protocol", where)
    if "data" in raw:
        found["data"] = mapping_of(raw, "data", where)
        check_fields(found["data"], ("name",), ("name", "options"), f"{where}: data")
    if "budget" in raw:
        found["budget"] = _budget(raw, where)
    if "settings" in raw:
        found["settings"] = _settings(raw, where)
    return found


def _budget(raw: Mapping[str, Any], where: str) -> dict[str, dict[str, int]]:
    stated = mapping_of(raw, "budget", where)
    budget = {tier: mapping_of(stated, tier, where) for tier in stated}
    for tier, amounts in budget.items():
        if tier not in TIERS:
            raise unknown("tier", tier, TIERS, f"{where}: budget")
        for name, images in amounts.items():
            if not isinstance(images, int) or isinstance(images, bool) or images < 1:
                raise ConfigError(f"budget.{tier}.{name}: {images!r} must be a positive number of images", where=where)
    return budget


def _settings(raw: Mapping[str, Any], where: str) -> dict[str, dict[str, Any]]:
    settings = mapping_of(raw, "settings", where)
    for key in settings:
        if key not in TIERS:
            raise unknown("tier", key, TIERS, f"{where}: settings")
    return {key: mapping_of(settings, key, f"{where}: settings") for key in settings}
