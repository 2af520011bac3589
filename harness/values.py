"""Values of a command line, each checked and brought into its type; errors name what is nearest."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness import registry
from harness.cards import Scalar
from harness.naming import unknown
from harness.registry import MethodEntry
from harness.suite_files import Suite
from harness.types import Budget, ConfigError, DataSpec, Tier

COMMAND_LINE = "command line"
DEVICES = ("auto", "cpu", "cuda")


@dataclass(frozen=True)
class Variant:
    """One configuration of a method: the resolved preset and what the user changed in it."""

    config: Mapping[str, Any]
    overrides: Mapping[str, Any] = field(default_factory=dict)


def variants(
    entry: MethodEntry, given: Mapping[str, list[Any]], preset_over: Callable[[str], Mapping[str, Any]]
) -> tuple[Variant, ...]:
    """Every combination of the values given for this method's keys; a value equal to the preset's is no override.

    ``preset_over`` is the preset over a base, of a method that plugs into others; of another, and with the empty word,
    the preset as it is.
    """
    keys = [key for key in given if key.partition(".")[0] == entry.name]
    usual = preset_over("")
    found: dict[tuple[Any, ...], Variant] = {}
    for base in given.get(f"{entry.name}.base", [""]) if entry.card.base else [""]:
        preset = preset_over(base)
        fixed = {key: [base] if base and key == f"{entry.name}.base" else given[key] for key in keys}
        swept = [[_fitting(entry, preset, key, value) for value in fixed[key]] for key in keys]
        for chosen in itertools.product(*swept):
            changed = {key.partition(".")[2]: value for key, value in zip(keys, chosen, strict=True)}
            overrides = {
                name: value
                for name, value in changed.items()
                if value != (usual if name == "base" else preset).get(name, ...)
            }
            label = tuple(f"{name}={value!r}" for name, value in sorted(overrides.items()))
            found.setdefault(label, Variant({**preset, **overrides}, overrides))
    for variant in found.values():
        _possible(entry, variant.config)
    return tuple(found.values())


def _possible(entry: MethodEntry, config: Mapping[str, Any]) -> None:
    """Raise ConfigError for values of which the card, or that of the base, says that they cannot work together."""
    host = registry.find_base(entry, config["base"]) if entry.card.base else entry
    for clash in (*entry.card.clashes, *(host.card.clashes if host is not entry else ())):
        if clash.holds(config):
            words = " with ".join(f"{entry.name}.{key}={config[key]!r}" for key in clash.values)
            raise ConfigError(f"{words} cannot work: {clash.because}", where=COMMAND_LINE)


def _fitting(entry: MethodEntry, preset: Mapping[str, Any], key: str, value: Any) -> Any:
    """The value in the type of the preset's, or ConfigError."""
    name = key.partition(".")[2]
    if name not in preset:
        raise unknown("key", key, [f"{entry.name}.{k}" for k in preset], COMMAND_LINE)
    allowed: tuple[Scalar, ...] = entry.card.switches.get(name, ())
    if allowed:
        same = [a for a in allowed if a == value and isinstance(a, bool) == isinstance(value, bool)]
        if not same:
            raise unknown(f"value for {key}:", str(value), [str(a) for a in allowed], COMMAND_LINE)
        return same[0]
    usual = preset[name]
    needed = name.endswith("batch_size") and bool(usual)  # a stream that the method cannot do without
    if needed and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
        raise ConfigError(f"{key}={value!r} must be a positive whole number", where=COMMAND_LINE)
    if usual is None or value is None:
        return value
    numeric = isinstance(usual, (int, float)) and not isinstance(usual, bool)
    if numeric and isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value) if isinstance(usual, float) else value
    if numeric or type(value) is not type(usual):
        kind = "a number" if numeric else {bool: "true or false", str: "a word", list: "a list"}[type(usual)]
        raise ConfigError(f"{key}={value!r} must be {kind}", where=COMMAND_LINE, remedy=f"The preset has {usual!r}.")
    return value


def one_of(key: str, value: Any, allowed: Sequence[str]) -> Any:
    """The value, if it is one of the allowed words."""
    if value not in allowed:
        raise unknown(f"value for {key}:", str(value), allowed, COMMAND_LINE)
    return value


def positive(key: str, value: Any) -> int:
    """The value, if it is a positive whole number."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ConfigError(f"{key}={value!r} must be a positive whole number", where=COMMAND_LINE)
    return value


def finite(key: str, value: Any) -> None:
    """Raise ConfigError for NaN and infinity, which no key takes and no result could be stored under."""
    for item in value if isinstance(value, list) else [value]:
        if isinstance(item, float) and not math.isfinite(item):
            raise ConfigError(f"{key}={item} is not a finite number", where=COMMAND_LINE)


def path(value: Any, default: Path) -> Path:
    """The absolute path of a word, or the default where none was given."""
    return default if value is None else Path(str(value)).expanduser().absolute()


def device(value: Any) -> str:
    """``auto``, ``cpu``, ``cuda`` or ``cuda:<n>``; whether it exists is asked when it is used."""
    kind, _, index = str(value).partition(":")
    if kind not in DEVICES or (index and not (kind == "cuda" and index.isdigit())):
        raise unknown("value for device:", str(value), DEVICES, COMMAND_LINE)
    return str(value)


def seeds(value: Any) -> tuple[int, ...]:
    """Seeds 0 to n-1 of a count, or those of a list, each once."""
    listed = value if isinstance(value, list) else range(positive("seeds", value))
    if not all(isinstance(s, int) and not isinstance(s, bool) and s >= 0 for s in listed) or not listed:
        raise ConfigError(
            f"seeds={value!r} must be a count or a list of numbers from 0",
            where=COMMAND_LINE,
            remedy="seeds=3 means seeds 0, 1, 2; seeds=[1,5] names them.",
        )
    return tuple(dict.fromkeys(listed))


def references(value: Any, suite: Suite) -> tuple[str, ...]:
    """Reference rows of the suite."""
    for name in value if isinstance(value, list) else [value]:
        if name not in suite.references:
            raise unknown("reference", str(name), suite.references, COMMAND_LINE)
    return tuple(value) if isinstance(value, list) else (value,)


def budget(value: Any, suite: Suite, tier: str) -> Budget:
    """A budget of the suite by name, or a number of images."""
    named = suite.budget.get(tier, {})
    if isinstance(value, int) and not isinstance(value, bool):
        return Budget("custom", positive("budget", value))
    if value not in named:
        raise unknown(f"budget for tier {tier}:", str(value), named, COMMAND_LINE)
    return Budget(str(value), named[value])


def data(chosen: Mapping[str, Any], asked: Collection[str], suite: Suite, tier: Tier) -> DataSpec:
    """The samples of a run. The suite's options belong to its own data: another data set gets those ``asked`` for."""
    from harness.data import catalogue

    name = "folder/flat" if chosen["name"] == "folder" else chosen["name"]
    options = dict(chosen["options"])
    if name != suite.data["name"]:
        own = {word.split(".")[2] for word in asked if word.startswith("data.options.")}
        options = {key: value for key, value in options.items() if key in own}
    for word, instead in (("name", "data=..."), ("tier", "tier=...")):
        if word in options:
            raise ConfigError(f"data.options.{word} is no option", where=COMMAND_LINE, remedy=f"Write {instead}")
    if chosen["root"] is not None:
        options["root"] = str(Path(str(chosen["root"])).expanduser().absolute())
    return catalogue.spec(name, tier=tier, **options)


def check_prior(data: DataSpec, entries: Sequence[MethodEntry]) -> None:
    """Raise ConfigError where a method needs a pose prior that the data lack."""
    for entry in entries:
        if entry.card.prior == "required" and data.prior is None:
            raise ConfigError(
                f"{entry.name} needs a pose prior, and {data.name} has none",
                where=COMMAND_LINE,
                remedy="Name one, for example data.options.prior=front_gauss, or leave the method out.",
            )


def check_shown(data: DataSpec, name: str, config: Mapping[str, Any]) -> None:
    """Raise ConfigError where a method wants more training images than there are, or classes that the data lack."""
    wanted, rows = config.get("train_images", 0), data.splits.get("train")
    where = f"{COMMAND_LINE}: {name}"
    if not isinstance(wanted, int) or isinstance(wanted, bool) or wanted < 0:
        raise ConfigError(f"train_images={wanted!r} must be a whole number, 0 for all images", where=where)
    if rows is not None and wanted > rows:
        raise ConfigError(f"train_images={wanted}, but {data.name} has {rows} to train on", where=where)
    if config.get("conditional", False) and "classes" not in data.options:
        raise ConfigError(
            f"conditional=true, but {data.name} has no classes",
            where=where,
            remedy="Choose data with classes, such as folder/afhq.",
        )


def check_setting(data: DataSpec, suite: Suite) -> None:
    """Raise ConfigError where the data belong to another setting of the suite."""
    found = data.options.get("setting", "")
    if suite.setting and found != suite.setting:
        raise ConfigError(
            f"{data.name} has no setting {suite.setting!r}",
            where=COMMAND_LINE,
            remedy=f"Write setting={found}." if found in suite.variants else "Choose data with this setting.",
        )
