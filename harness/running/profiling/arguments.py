"""The words of ``profile``, checked before anything is measured. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import registry, values
from harness.config import default_store
from harness.naming import PRECISIONS, TIERS, unknown
from harness.running.profiling.subjects import Subject, known_methods, methods_of, subjects
from harness.running.profiling.suite import read_throughput_suite
from harness.running.settings import RunSettings, default_cache
from harness.values import COMMAND_LINE
from harness.words import above_zero, key_values
from harness.words import names as names_in

KEYS = (
    *("suite", "methods", "setting", "tier", "device", "precision", "compile", "batch", "resolution", "threads"),
    *("deterministic", "at", "seconds", "largest", "trace", "store", "cache", "out"),
)
PASSED = ("data", "root")
"""Heads of words that are handed on to the configuration of a run."""


@dataclass(frozen=True)
class ProfileArguments:
    """What a profile is asked for; ``threads`` empty for the device's usual ones, ``precision`` empty for the
    suites' own."""

    subjects: tuple[Subject, ...]
    settings: RunSettings
    device: str
    precision: str
    compiled: bool
    at: float
    threads: tuple[int, ...]
    limits: Mapping[str, Any]
    largest: bool
    trace: Path | None
    store: Path
    out: Path


def parse(words: Sequence[str]) -> ProfileArguments:
    """The checked words. Raises ConfigError naming the word, with the nearest valid one."""
    passed = [word for word in words if "." in (head := word.partition("=")[0]) or head in PASSED]
    given = key_values([word for word in words if word not in passed], (*KEYS, *PASSED))
    throughput = read_throughput_suite()
    suite = given.get("suite", registry.MEASURED)
    if suite != registry.MEASURED and suite not in registry.suites():
        raise unknown("suite", suite, (registry.MEASURED, *registry.suites()), COMMAND_LINE)
    only = "" if suite == registry.MEASURED else suite
    names = names_in("methods", given["methods"]) if "methods" in given else list(registry.methods())
    if only and "methods" not in given:
        names = methods_of(only)
    tier = values.one_of("tier", given.get("tier", throughput.tier), TIERS)
    device = values.device(given.get("device", "auto"))
    precision = values.one_of("precision", given.get("precision", "auto"), (*PRECISIONS, "tf32"))
    limits = throughput.limits_of(tier)
    if "seconds" in given:
        limits["seconds"] = above_zero("seconds", given["seconds"])
    store = values.path(given.get("store"), default_store())
    threads, batch, resolution = (_whole(given, key) for key in ("threads", "batch", "resolution"))
    compiled, largest = _flag(given, "compile", False), _flag(given, "largest", True)
    settings = RunSettings(
        device=device,
        cache=values.path(given.get("cache"), default_cache()),
        deterministic=_flag(given, "deterministic", True),
    )
    at = above_zero("at", given["at"], below=1.0) if "at" in given else throughput.at
    return ProfileArguments(
        subjects=tuple(
            subjects(
                throughput,
                known_methods(names),
                tier,
                passed,
                suite=only,
                setting=given.get("setting", ""),
                batch=batch,
                resolution=resolution,
            )
        ),
        settings=settings,
        device=device,
        precision="" if precision == "auto" else precision,
        compiled=compiled,
        at=at,
        threads=(threads,) if threads else (),
        limits=limits,
        largest=largest,
        trace=values.path(given["trace"], Path()) if "trace" in given else None,
        store=store,
        out=values.path(given.get("out"), store / "tables"),
    )


def _whole(given: Mapping[str, str], key: str) -> int | None:
    if key not in given:
        return None
    return values.positive(key, int(given[key]) if given[key].isdecimal() else given[key])


def _flag(given: Mapping[str, str], key: str, usual: bool) -> bool:
    text = given.get(key, str(usual)).lower()
    return bool(values.one_of(key, text, ("true", "false")) == "true")
