"""From the words of a command line to a checked, frozen ``RunConfig``, through Hydra's override grammar and compose.

Every key and value is checked here, before anything is trained: what does not exist is an error with the nearest names.
"""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness import registry
from harness.cards import TIERS, Scalar, Suite, nearest, refuse_code, unknown
from harness.registry import MethodEntry
from harness.running.settings import RERUNS, RunSettings, default_cache
from harness.types import Budget, ConfigError, DataSpec, Tier

COMMAND_LINE = "command line"
EXECUTORS = ("local", "processes", "slurm", "ray")
PRECISIONS = ("auto", "fp32", "bf16")
DEVICES = ("auto", "cpu", "cuda")
_OPEN = ("data.options",)  # what may stand below is known to the data family, which checks it
_PATHS = ("store", "cache", "out", "data.root")


@dataclass(frozen=True)
class Variant:
    """One configuration of a method: the resolved preset and what the user changed in it."""

    config: Mapping[str, Any]
    overrides: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Choice:
    """A method of this run with its variants; ``listed`` is False for one that is only there for others' ``needs``."""

    entry: MethodEntry
    variants: tuple[Variant, ...]
    listed: bool = True


@dataclass(frozen=True)
class RunConfig:
    """Everything a run needs, resolved: ``choices`` are the methods in order, ``data`` the samples of all cells,
    ``run`` says how to run on this machine, ``store`` is the folder of results, ``out`` the folder of tables."""

    suite: Suite
    tier: Tier
    choices: tuple[Choice, ...]
    references: tuple[str, ...]
    seeds: tuple[int, ...]
    budget: Budget
    data: DataSpec
    settings: Mapping[str, Any]
    precision: str
    executor: str
    workers: int
    run: RunSettings
    store: Path
    out: Path


# ----------------------------------------------------------------------------------------------- default places
def default_store() -> Path:
    """``results/runs`` of the checkout when called from inside one, else of the current folder."""
    here = Path.cwd()
    inside = (registry.ROOT / "pyproject.toml").is_file() and here.is_relative_to(registry.ROOT)
    return (registry.ROOT if inside else here) / "results" / "runs"


# -------------------------------------------------------------------------------------------------------- parsing
def parse(argv: Sequence[str]) -> RunConfig:
    """Resolve words such as ``suite=3d_aware methods=[hologan] hologan.identity_weight=0,1``.

    Raises ConfigError, with the nearest valid names, for an unknown key or value, a value that names code, a repeated
    key, or a sweep over anything but a key of a method.
    """
    given = _overrides(argv)
    suite = registry.suite(_fixed(given, "suite", _missing_suite))
    tier: Tier = _one_of("tier", _fixed(given, "tier", suite.tier), TIERS)
    names = _method_names(_fixed(given, "methods", list(suite.methods)))
    entries, listed = _with_needs(names)
    presets = {entry.name: entry.preset(tier) for entry in entries}
    base = _base(suite, tier, names, presets)
    _check_keys(given, base, presets)
    fixed = {key: values[0] for key, values in given.items() if len(values) == 1}
    composed = _compose(base, fixed)
    data = _data(composed["data"], suite, tier)
    _check_prior(data, entries)
    store = _path(composed["store"], default_store())
    workers = _positive("workers", composed["workers"])
    choices = tuple(
        Choice(entry, _variants(entry, presets[entry.name], given), entry.name in listed) for entry in entries
    )
    return RunConfig(
        suite=suite,
        tier=tier,
        choices=choices,
        references=_references(composed["references"], suite),
        seeds=_seeds(composed["seeds"]),
        budget=_budget(composed["budget"], suite, tier),
        data=data,
        settings=composed["settings"],
        precision=_one_of("precision", composed["precision"], PRECISIONS),
        executor=_one_of("executor", composed["executor"], EXECUTORS),
        workers=workers,
        run=RunSettings(
            device=_device(composed["device"]),
            cache=_path(composed["cache"], default_cache()),
            threads=_positive("threads", composed["threads"]),
            rerun=_one_of("rerun", composed["rerun"], RERUNS),
            checkpoint_seconds=float(_positive("checkpoint_seconds", composed["checkpoint_seconds"])),
            data_workers=max(workers, min(4, _cores())),
        ),
        store=store,
        out=_path(composed["out"], store / "tables"),
    )


def _cores() -> int:
    """Cores this process may use, which in a container are fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _missing_suite() -> str:
    raise ConfigError(
        "suite=... is missing", where=COMMAND_LINE, nearest=[f"suite={name}" for name in registry.suites()]
    )


def _overrides(argv: Sequence[str]) -> dict[str, list[Any]]:
    """Key -> its values (several for a sweep), by Hydra's grammar, with plain Python values."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.core.override_parser.types import Override, OverrideType
    from hydra.errors import HydraException

    parser, given = OverridesParser.create(), dict[str, list[Any]]()
    for word in argv:
        try:
            override: Override = parser.parse_override(word)
            values = [override.value()]
            if override.is_sweep_override():
                values = [Override._convert_value(v) for v in override.sweep_iterator()]
        except (HydraException, ValueError) as error:
            raise ConfigError(
                f"{word!r} is not key=value ({str(error).splitlines()[0]})",
                where=COMMAND_LINE,
                remedy="Quote a value with special characters: 'key=\"the value\"'.",
            ) from None
        if override.type is not OverrideType.CHANGE or override.package is not None or not override.key_or_group:
            raise ConfigError(f"{word!r}: only key=value is understood here", where=COMMAND_LINE)
        key = {"data": "data.name", "root": "data.root"}.get(override.key_or_group, override.key_or_group)
        if key in given:
            raise ConfigError(f"{key} is given twice", where=COMMAND_LINE, remedy="Sweep with key=first,second.")
        if not values:
            raise ConfigError(f"{word!r} has no value", where=COMMAND_LINE)
        for value in values:
            if key not in (*_PATHS, "methods", "suite", "references"):
                refuse_code(key, value, COMMAND_LINE)
        given[key] = values
    return given


def _fixed(given: Mapping[str, list[Any]], key: str, default: Any) -> Any:
    if key not in given:
        return default() if callable(default) else default
    if len(given[key]) > 1:
        listed = ",".join(str(v) for v in given[key])
        raise ConfigError(
            f"{key}={listed} is a sweep, which only keys of methods allow",
            where=COMMAND_LINE,
            remedy=f"Write {key}=[{listed}] for a list." if key in ("methods", "seeds", "references") else "",
        )
    return given[key][0]


def _method_names(value: Any) -> list[str]:
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise ConfigError(f"methods={value!r} must be a list of names or folders", where=COMMAND_LINE)
    return names


def _with_needs(names: Sequence[str]) -> tuple[list[MethodEntry], set[str]]:
    """Entries of the named methods, those they need first (a method that needs itself in a circle is an error)."""
    ordered: dict[str, MethodEntry] = {}
    listed: set[str] = set()

    def add(name: str, chain: tuple[str, ...]) -> str:
        entry = registry.find(name)
        if entry.name in chain:
            raise ConfigError(f"methods need one another in a circle: {' -> '.join((*chain, entry.name))}")
        if entry.name in ordered and ordered[entry.name].folder != entry.folder:
            raise ConfigError(
                f"two methods are called {entry.name!r}: {ordered[entry.name].folder} and {entry.folder}",
                where=COMMAND_LINE,
                remedy="Rename one in its card.yaml.",
            )
        for needed in entry.card.needs.values():
            add(needed, (*chain, entry.name))
        ordered.setdefault(entry.name, entry)
        return entry.name

    for name in names:
        label = add(name, ())
        if label in listed:
            raise ConfigError(f"method {label!r} is listed twice", where=COMMAND_LINE)
        listed.add(label)
    return list(ordered.values()), listed


def _base(suite: Suite, tier: str, names: list[str], presets: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    return {
        "suite": suite.name,
        "methods": names,
        "references": list(suite.references),
        "seeds": suite.seeds,
        "tier": tier,
        "budget": "quick",
        "device": "auto",
        "precision": "auto",
        "executor": "local",
        "workers": 1,
        "threads": 1,
        "rerun": "failed",
        "checkpoint_seconds": 60,
        "store": None,
        "cache": None,
        "out": None,
        "data": {"name": suite.data["name"], "root": None, "options": dict(suite.data.get("options") or {})},
        "settings": dict(suite.settings.get(tier, {})),
        **presets,
    }


def _check_keys(given: Mapping[str, list[Any]], base: Mapping[str, Any], presets: Mapping[str, Any]) -> None:
    known = [
        f"{key}.{below}" if isinstance(value, dict) else key
        for key, value in base.items()
        for below in (value if isinstance(value, dict) else [""])
    ]
    for key in given:
        head, _, tail = key.partition(".")
        if any(key.startswith(f"{place}.") for place in _OPEN) or key in known:
            if head not in presets:
                _fixed(given, key, None)
            continue
        if tail and head not in base and head in registry.methods():
            raise ConfigError(
                f"{key}: {head} is not among methods=[{','.join(presets)}]",
                where=COMMAND_LINE,
                remedy=f"Add it: methods=[{','.join((*presets, head))}].",
            )
        if head in presets:
            close = [f"{head}.{name}" for name in nearest(tail, presets[head])]
            remedy = "" if close else f"Keys of {head}: {', '.join(presets[head])}."
            raise ConfigError(f"unknown key {key!r}", where=COMMAND_LINE, nearest=close, remedy=remedy)
        raise unknown("key", key, known, COMMAND_LINE)


def _compose(base: dict[str, Any], fixed: Mapping[str, Any]) -> dict[str, Any]:
    from hydra import compose, initialize
    from hydra.core.config_store import ConfigStore
    from hydra.core.global_hydra import GlobalHydra
    from hydra.core.override_parser.types import Quote, QuotedString
    from hydra.errors import HydraException
    from omegaconf import OmegaConf

    def word(value: Any) -> str:
        if isinstance(value, str):
            return QuotedString(value, Quote.double).with_quotes()
        if isinstance(value, list):
            return f"[{','.join(word(item) for item in value)}]"
        return json.dumps(value)

    ConfigStore.instance().store(name="parallax", node=base)
    GlobalHydra.instance().clear()
    words = [f"{'++' if key.startswith('data.options.') else ''}{key}={word(value)}" for key, value in fixed.items()]
    try:
        with initialize(version_base="1.3", config_path=None):
            composed = OmegaConf.to_container(compose("parallax", overrides=words), resolve=False)
    except HydraException as error:
        raise ConfigError(str(error).splitlines()[0], where=COMMAND_LINE) from None
    assert isinstance(composed, dict)
    return {str(key): value for key, value in composed.items()}


# ------------------------------------------------------------------------------------------------- checked values
def _variants(entry: MethodEntry, preset: Mapping[str, Any], given: Mapping[str, list[Any]]) -> tuple[Variant, ...]:
    """Every combination of the values given for this method's keys; a value equal to the preset's is no override."""
    keys = [key for key in given if key.partition(".")[0] == entry.name]
    swept = [[_fitting(entry, preset, key, value) for value in given[key]] for key in keys]
    found: dict[tuple[Any, ...], Variant] = {}
    for values in itertools.product(*swept):
        changed = {key.partition(".")[2]: value for key, value in zip(keys, values, strict=True)}
        overrides = {name: value for name, value in changed.items() if value != preset[name]}
        label = tuple(f"{name}={value!r}" for name, value in sorted(overrides.items()))
        found.setdefault(label, Variant({**preset, **overrides}, overrides))
    return tuple(found.values())


def _fitting(entry: MethodEntry, preset: Mapping[str, Any], key: str, value: Any) -> Any:
    """The value in the type of the preset's, or ConfigError."""
    name = key.partition(".")[2]
    if name not in preset:
        raise unknown("key", key, [f"{entry.name}.{k}" for k in preset], COMMAND_LINE)
    allowed: tuple[Scalar, ...] = entry.card.switches.get(name, ())
    if allowed and value not in allowed:
        raise unknown(f"value for {key}:", str(value), [str(a) for a in allowed], COMMAND_LINE)
    usual = preset[name]
    if name == "batch_size" and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
        raise ConfigError(f"{key}={value!r} must be a positive whole number", where=COMMAND_LINE)
    if usual is None or value is None or allowed:
        return value
    numeric = isinstance(usual, (int, float)) and not isinstance(usual, bool)
    if numeric and isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value) if isinstance(usual, float) else value
    if numeric or type(value) is not type(usual):
        kind = "a number" if numeric else {bool: "true or false", str: "a word", list: "a list"}[type(usual)]
        raise ConfigError(f"{key}={value!r} must be {kind}", where=COMMAND_LINE, remedy=f"The preset has {usual!r}.")
    return value


def _one_of(key: str, value: Any, allowed: Sequence[str]) -> Any:
    if value not in allowed:
        raise unknown(f"value for {key}:", str(value), allowed, COMMAND_LINE)
    return value


def _positive(key: str, value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ConfigError(f"{key}={value!r} must be a positive whole number", where=COMMAND_LINE)
    return value


def _path(value: Any, default: Path) -> Path:
    return default if value is None else Path(str(value)).expanduser().absolute()


def _device(value: Any) -> str:
    kind, _, index = str(value).partition(":")
    if kind not in DEVICES or (index and not (kind == "cuda" and index.isdigit())):
        raise unknown("value for device:", str(value), DEVICES, COMMAND_LINE)
    return str(value)


def _seeds(value: Any) -> tuple[int, ...]:
    seeds = value if isinstance(value, list) else range(_positive("seeds", value))
    if not all(isinstance(s, int) and not isinstance(s, bool) and s >= 0 for s in seeds) or not seeds:
        raise ConfigError(
            f"seeds={value!r} must be a count or a list of numbers from 0",
            where=COMMAND_LINE,
            remedy="seeds=3 means seeds 0, 1, 2; seeds=[1,5] names them.",
        )
    return tuple(dict.fromkeys(seeds))


def _references(value: Any, suite: Suite) -> tuple[str, ...]:
    for name in value if isinstance(value, list) else [value]:
        if name not in suite.references:
            raise unknown("reference", str(name), suite.references, COMMAND_LINE)
    return tuple(value) if isinstance(value, list) else (value,)


def _budget(value: Any, suite: Suite, tier: str) -> Budget:
    named = suite.budget.get(tier, {})
    if isinstance(value, int) and not isinstance(value, bool):
        return Budget("custom", _positive("budget", value))
    if value not in named:
        raise unknown(f"budget for tier {tier}:", str(value), named, COMMAND_LINE)
    return Budget(str(value), named[value])


def _data(chosen: Mapping[str, Any], suite: Suite, tier: Tier) -> DataSpec:
    from harness.data import catalogue

    name = "folder/flat" if chosen["name"] == "folder" else chosen["name"]
    options = dict(chosen["options"])
    if name != suite.data["name"]:
        # The suite's options belong to its own data; another family only gets what the user asked for.
        own = suite.data.get("options") or {}
        options = {key: value for key, value in options.items() if key not in own or value != own[key]}
    if chosen["root"] is not None:
        options["root"] = str(Path(str(chosen["root"])).expanduser().absolute())
    return catalogue.spec(name, tier=tier, **options)


def _check_prior(data: DataSpec, entries: Sequence[MethodEntry]) -> None:
    for entry in entries:
        if entry.card.prior == "required" and data.prior is None:
            raise ConfigError(
                f"{entry.name} needs a pose prior, and {data.name} has none",
                where=COMMAND_LINE,
                remedy="Name one, for example data.options.prior=front_gauss, or leave the method out.",
            )
