"""The suite ``throughput``: how much is measured, and what published presets are made for. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness import registry
from harness.naming import TIERS, unknown
from harness.types import Cell, ConfigError, DataSpec
from harness.yaml_files import read_yaml

_FIELDS = ("name", "title", "protocol", "tier", "at", "limits", "presets", "shapes")
_LIMITS = ("warmup", "blocks", "calls", "seconds")


@dataclass(frozen=True)
class ThroughputSuite:
    """``at`` is the share of a schedule after which steps are measured; ``limits`` of a measurement, with those of
    single tiers; ``presets``: keys that are changed, by tier; ``shapes``: resolution and data options by tier, and
    there by protocol and by method."""

    title: str
    tier: str
    at: float
    limits: Mapping[str, Any]
    presets: Mapping[str, Mapping[str, Any]]
    shapes: Mapping[str, Mapping[str, Mapping[str, Mapping[str, int]]]]

    def limits_of(self, tier: str) -> dict[str, Any]:
        """The limits of a tier: the general ones, changed by its own."""
        general = {key: value for key, value in self.limits.items() if key in _LIMITS}
        return general | dict(self.limits.get(tier) or {})

    def presets_of(self, tier: str) -> Mapping[str, Any]:
        """Keys of the presets of a tier that are changed, where a preset has them."""
        return self.presets.get(tier) or {}

    def shaped(self, cell: Cell, resolution: int | None = None) -> tuple[DataSpec, str]:
        """The samples that a cell's preset is made for, and why they must be made up (empty: they need not).

        ``resolution`` is the user's. Data that the user named by ``root`` stay as they are.
        """
        shapes = self.shapes.get(cell.tier) or {}
        found = dict((shapes.get("protocols") or {}).get(cell.protocol) or {})
        found |= (shapes.get("methods") or {}).get(cell.method) or {}
        if cell.data.root is not None:
            found = {}
        side = resolution or int(found.pop("resolution", cell.data.resolution))
        found.pop("resolution", None)
        options = {**cell.data.options, **found}
        if side == cell.data.resolution and options == cell.data.options:
            return cell.data, ""
        reason = f"at {side} px, for which the preset is made" if resolution is None else f"at {side} px, as asked for"
        return replace(cell.data, resolution=side, options=options), reason


def read_throughput_suite(path: Path | None = None) -> ThroughputSuite:
    """The checked suite. Raises ConfigError naming the file and the field."""
    path = path or registry.ROOT / "suites" / f"{registry.MEASURED}.yaml"
    raw, where = read_yaml(path), str(path)
    for key in raw:
        if key not in _FIELDS:
            raise unknown("field", key, _FIELDS, where)
    tier = raw.get("tier", "micro")
    if tier not in TIERS:
        raise unknown("tier", str(tier), TIERS, f"{where}: tier")
    limits = raw.get("limits") or {}
    for key, value in limits.items():
        if key in TIERS:
            _check_limits(value, f"{where}: limits.{key}")
    _check_limits({key: value for key, value in limits.items() if key not in TIERS}, f"{where}: limits")
    at = raw.get("at", 0.75)
    if not isinstance(at, float) or not 0 < at < 1:
        raise ConfigError(f"at: {at!r} must be a share of the schedule, above 0 and below 1", where=where)
    return ThroughputSuite(
        title=str(raw.get("title", "")),
        tier=tier,
        at=at,
        limits=limits,
        presets=raw.get("presets") or {},
        shapes=raw.get("shapes") or {},
    )


def _check_limits(limits: Any, where: str) -> None:
    for key, value in (limits or {}).items():
        if key not in _LIMITS:
            raise unknown("limit", key, _LIMITS, where)
        if not isinstance(value, (int, float)) or isinstance(value, bool) or value <= 0:
            raise ConfigError(f"{key}: {value!r} must be a number above 0", where=where)
