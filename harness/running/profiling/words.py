"""The words of ``profile``, checked before anything is measured. Imports no torch."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import registry, values
from harness.cards import PRECISIONS, TIERS, unknown
from harness.config import default_store
from harness.running.profiling.subjects import Subject, known_methods, methods_of, subjects
from harness.running.profiling.suite import read_throughput_suite
from harness.running.settings import RunSettings, default_cache
from harness.types import ConfigError
from harness.values import COMMAND_LINE

KEYS = (
    *("suite", "methods", "setting", "tier", "device", "precision", "compile", "batch", "resolution", "threads"),
    *("deterministic", "at", "seconds", "largest", "trace", "store", "cache", "out"),
)
PASSED = ("data", "root")
"""Heads of words that are handed on to the configuration of a run."""


@dataclass(frozen=True)
class ProfileWords:
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


def parse(words: Sequence[str]) -> ProfileWords:
    """The checked words. Raises ConfigError naming the word, with the nearest valid one."""
    given, passed = _split(words)
    throughput = read_throughput_suite()
    suite = given.get("suite", registry.MEASURED)
    if suite != registry.MEASURED and suite not in registry.suites():
        raise unknown("suite", suite, (registry.MEASURED, *registry.suites()), COMMAND_LINE)
    only = "" if suite == registry.MEASURED else suite
    names = _names(given["methods"]) if "methods" in given else list(registry.methods())
    if only and "methods" not in given:
        names = methods_of(only)
    tier = values.one_of("tier", given.get("tier", throughput.tier), TIERS)
    device = values.device(given.get("device", "auto"))
    precision = values.one_of("precision", given.get("precision", "auto"), (*PRECISIONS, "tf32"))
    limits = throughput.limits_of(tier)
    if "seconds" in given:
        limits["seconds"] = _number(given["seconds"], "seconds")
    store = values.path(given.get("store"), default_store())
    threads, batch, resolution = (_whole(given, key) for key in ("threads", "batch", "resolution"))
    compiled, largest = _flag(given, "compile", False), _flag(given, "largest", True)
    settings = RunSettings(
        device=device,
        cache=values.path(given.get("cache"), default_cache()),
        deterministic=_flag(given, "deterministic", True),
    )
    at = _number(given["at"], "at", below=1.0) if "at" in given else throughput.at
    return ProfileWords(
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


def _split(words: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """The verb's own words, and those for the configuration: about data, and keys of methods."""
    given: dict[str, str] = {}
    passed: list[str] = []
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not value:
            raise ConfigError(f"{word!r} is not key=value", where=COMMAND_LINE, remedy=f"Keys: {', '.join(KEYS)}.")
        if "." in key or key in PASSED:
            passed.append(word)
        elif key not in KEYS:
            raise unknown("key", key, (*KEYS, *PASSED), COMMAND_LINE)
        elif key in given:
            raise ConfigError(f"{key} is given twice", where=COMMAND_LINE)
        else:
            given[key] = value
    return given, passed


def _names(text: str) -> list[str]:
    names = [name.strip().strip("\"'") for name in re.sub(r"^\[(.*)\]$", r"\1", text.strip()).split(",")]
    if not all(names):
        raise ConfigError(f"methods={text} must be a list of names or folders", where=COMMAND_LINE)
    return names


def _whole(given: Mapping[str, str], key: str) -> int | None:
    if key not in given:
        return None
    return values.positive(key, int(given[key]) if given[key].isdecimal() else given[key])


def _flag(given: Mapping[str, str], key: str, usual: bool) -> bool:
    text = given.get(key, str(usual)).lower()
    return bool(values.one_of(key, text, ("true", "false")) == "true")


def _number(text: str, key: str, below: float = float("inf")) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < below:
        limit = f" and below {below:g}" if below < float("inf") else ""
        raise ConfigError(f"{key}={text} must be a number above 0{limit}", where=COMMAND_LINE)
    return number
