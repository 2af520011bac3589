"""From the words of a command line to a checked, frozen ``RunConfig``, through Hydra's override grammar and compose.

Every key and value is checked here, before anything is trained: what does not exist is an error with the nearest names.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import registry, values
from harness.naming import PRECISIONS, TIERS
from harness.overrides import check_keys, compose, overrides, single
from harness.registry import MethodEntry
from harness.running.hardware import cores
from harness.running.settings import RERUNS, RunSettings, default_cache
from harness.suite_files import MAIN, Suite
from harness.types import Budget, ConfigError, DataSpec, Tier
from harness.values import COMMAND_LINE, Variant

EXECUTORS = ("auto", "local", "processes", "slurm", "ray")


@dataclass(frozen=True)
class Choice:
    """A method of this run with its variants."""

    entry: MethodEntry
    variants: tuple[Variant, ...]


@dataclass(frozen=True)
class RunConfig:
    """Everything a run needs, resolved: ``choices`` are the methods in order, ``data`` the samples of all cells,
    ``run`` says how to run on this machine, ``store`` is the folder of results, ``out`` the folder of tables. An
    ``executor`` auto and ``workers`` None are settled once it is known what is to do (see ``running.placement``)."""

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
    workers: int | None
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
    """The first part of ``parts(argv)``: what a verb about one data set works on."""
    return parts(argv)[0]


def parts(argv: Sequence[str]) -> tuple[RunConfig, ...]:
    """Resolve words such as ``suite=3d_aware methods=[hologan] hologan.identity_weight=0,1``, by part of the suite.

    ``part=`` names one part. Otherwise every part does those of the ``methods`` that it lists, the first one those
    that no part lists; words about ``data`` leave the parts whose data have that name, or else the first.
    Raises ConfigError, with the nearest valid names, for an unknown key or value, a value that names code, a repeated
    key, or a sweep over anything but a key of a method.
    """
    given = overrides(argv)
    suite = _in_setting(registry.suite(single(given, "suite", _missing_suite)), given)
    chosen = [(suite.in_part(name), methods) for name, methods in _methods_by_part(suite, given).items()]
    return tuple(
        _resolve(part, _words_of(given, number, chosen), methods) for number, (part, methods) in enumerate(chosen)
    )


def _methods_by_part(suite: Suite, given: Mapping[str, list[Any]]) -> dict[str, list[str]]:
    """Which methods of this run belong to which part of the suite."""
    asked = _method_names(single(given, "methods", [])) if "methods" in given else None
    names = [MAIN, *suite.parts]
    if "part" in given:
        names = [str(single(given, "part", MAIN))]
    elif any(key.startswith("data.") for key in given):
        data = single(given, "data.name", suite.data["name"])
        names = [name for name in names if suite.in_part(name).data["name"] == data] or [MAIN]
    if asked is None or len(names) == 1:
        return {name: list(suite.in_part(name).methods) if asked is None else asked for name in names}
    listed = {name: suite.in_part(name).methods for name in names}
    strangers = {method for method in asked if not any(method in methods for methods in listed.values())}
    found = {
        name: [m for m in asked if m in methods or (m in strangers and name == names[0])]
        for name, methods in listed.items()
    }
    return {name: methods for name, methods in found.items() if methods}


def _words_of(
    given: Mapping[str, list[Any]], index: int, chosen: Sequence[tuple[Suite, list[str]]]
) -> dict[str, list[Any]]:
    """The words that concern one of the chosen parts: without methods and references that only others have."""
    suite, methods = chosen[index]
    others = {entry.name for _, names in chosen for entry in _with_needs(names)}
    others -= {entry.name for entry in _with_needs(methods)}
    words = {key: several for key, several in given.items() if key != "part" and key.partition(".")[0] not in others}
    asked = single(given, "references", [])
    known = {name for part, _ in chosen for name in part.references}
    if "references" in given and isinstance(asked, list):
        words["references"] = [[name for name in asked if name in suite.references or name not in known]]
    return words


def _resolve(suite: Suite, given: Mapping[str, list[Any]], methods: Sequence[str]) -> RunConfig:
    """The configuration of one part with its methods."""
    tier: Tier = values.one_of("tier", single(given, "tier", suite.tier), TIERS)
    names = list(methods)
    entries = _with_needs(names)
    presets = {entry.name: entry.preset(tier, suite.setting, _first_base(entry, given)) for entry in entries}
    base = _base(suite, tier, names, presets)
    check_keys(given, base, presets)
    fixed = {key: several[0] for key, several in given.items() if len(several) == 1}
    composed = compose(base, fixed)
    data = values.data(composed["data"], given, suite, tier)
    values.check_prior(data, entries)
    values.check_setting(data, suite)
    store = values.path(composed["store"], default_store())
    workers = None if composed["workers"] is None else values.positive("workers", composed["workers"])
    choices = tuple(
        Choice(entry, values.variants(entry, given, functools.partial(entry.preset, tier, suite.setting)))
        for entry in entries
    )
    for choice in choices:
        for variant in choice.variants:
            values.check_shown(data, choice.entry.name, variant.config)
    return RunConfig(
        suite=suite,
        tier=tier,
        choices=choices,
        references=values.references(composed["references"], suite),
        seeds=values.seeds(composed["seeds"]),
        budget=values.budget(composed["budget"], suite, tier),
        data=data,
        settings=composed["settings"],
        precision=values.one_of("precision", composed["precision"], PRECISIONS),
        executor=values.one_of("executor", composed["executor"], EXECUTORS),
        workers=workers,
        run=RunSettings(
            device=values.device(composed["device"]),
            cache=values.path(composed["cache"], default_cache()),
            threads=values.positive("threads", composed["threads"]),
            rerun=values.one_of("rerun", composed["rerun"], RERUNS),
            checkpoint_seconds=float(values.positive("checkpoint_seconds", composed["checkpoint_seconds"])),
            data_workers=max(workers or 1, min(4, cores())),
        ),
        store=store,
        out=values.path(composed["out"], store / "tables"),
    )


def _first_base(entry: MethodEntry, given: Mapping[str, list[Any]]) -> str:
    """The base whose keys the words may name; empty for that of the preset, or a method of its own."""
    return str(given.get(f"{entry.name}.base", [""])[0]) if entry.card.base else ""


def _in_setting(suite: Suite, given: Mapping[str, list[Any]]) -> Suite:
    """The suite in the setting that was asked for, or in its first one."""
    if "data.options.setting" in given and suite.variants:
        raise ConfigError(
            "data.options.setting would change the data only", where=COMMAND_LINE, remedy="Write setting=... instead."
        )
    if not suite.variants:
        return suite
    return suite.in_setting(str(single(given, "setting", next(iter(suite.variants)))))


def _missing_suite() -> str:
    raise ConfigError(
        "suite=... is missing", where=COMMAND_LINE, nearest=[f"suite={name}" for name in registry.suites()]
    )


def _method_names(value: Any) -> list[str]:
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise ConfigError(f"methods={value!r} must be a list of names or folders", where=COMMAND_LINE)
    return names


def _with_needs(names: Sequence[str]) -> list[MethodEntry]:
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
    return list(ordered.values())


def _base(suite: Suite, tier: str, names: list[str], presets: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    return {
        "suite": suite.name,
        "methods": names,
        "references": list(suite.references),
        "seeds": suite.seeds,
        "tier": tier,
        "budget": "quick",
        "device": "auto",
        "precision": suite.precision,
        "executor": "auto",
        "workers": None,
        "threads": 1,
        "rerun": "failed",
        "checkpoint_seconds": 60,
        "store": None,
        "cache": None,
        "out": None,
        "data": {"name": suite.data["name"], "root": None, "options": dict(suite.data.get("options") or {})},
        "settings": dict(suite.settings.get(tier, {})),
        **({"setting": suite.setting} if suite.setting else {}),
        **presets,
    }
