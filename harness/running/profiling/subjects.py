"""Which methods are profiled, with which presets on which samples: cells as a run would make them. Imports no torch."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from harness import config as configuration
from harness import registry
from harness.config import RunConfig
from harness.naming import unknown
from harness.running import plan as planning
from harness.running.profiling.suite import ThroughputSuite
from harness.suite_files import MAIN, Suite
from harness.types import Budget, Cell, ConfigError
from harness.values import COMMAND_LINE

_SHARED = ("data", "root")
"""Heads of words that concern every method."""
LEAST_STEPS = 2048
"""Steps of the schedule that is profiled, if the suite's budget has fewer: enough for all blocks after its middle."""


@dataclass(frozen=True)
class Listing:
    """Where a method is listed: a suite, one of its parts and, of a suite that has several, a setting."""

    suite: str
    part: str = MAIN
    setting: str = ""

    @property
    def words(self) -> list[str]:
        """The same as words of the command line."""
        setting = [f"setting={self.setting}"] if self.setting else []
        return [f"suite={self.suite}", f"part={self.part}", *setting]


@dataclass(frozen=True)
class Subject:
    """A method with a preset: ``cell`` as a run would have it, ``upstream`` those it builds on, ``adjusted`` the keys
    of its preset that the suite changed, ``made_up`` why its samples cannot be real ones."""

    cell: Cell
    listing: Listing
    upstream: Mapping[str, Cell] = field(default_factory=dict)
    adjusted: Mapping[str, Any] = field(default_factory=dict)
    made_up: str = ""


def subjects(
    throughput: ThroughputSuite,
    methods: Sequence[str],
    tier: str,
    words: Sequence[str] = (),
    *,
    suite: str = "",
    setting: str = "",
    batch: int | None = None,
    resolution: int | None = None,
) -> list[Subject]:
    """Every variant of the named methods, in that order; ``words`` are those about data and the methods' own keys.

    ``suite`` names the only suite to look in, ``setting`` the setting. Raises ConfigError as a run would.
    """
    named = {name: _with_needs(name) for name in methods}
    concerned = set[str]().union(*named.values(), _SHARED)
    for word in words:
        if _head(word) not in concerned:
            raise unknown("method or key", _head(word), concerned, f"{COMMAND_LINE}: {word}")
    together: dict[Listing, list[str]] = defaultdict(list)  # one configuration for all of a listing: each takes long
    for name in methods:
        together[listing_of(name, suite, setting)].append(name)
    made: dict[str, list[Subject]] = {}
    for listing, names in together.items():
        heads = set(_SHARED).union(*(named[name] for name in names))
        mine = [word for word in words if _head(word) in heads]
        listed = ",".join(map(_quoted, names))
        config = configuration.parse([*listing.words, f"methods=[{listed}]", f"tier={tier}", *mine])
        for name in names:
            found = _of_config(config, registry.find(name).name, listing, throughput, batch, resolution)
            made[name] = list(found)
    return [subject for name in methods for subject in made[name]]


def listing_of(method: str, suite: str = "", setting: str = "") -> Listing:
    """The first listing of a method among the suites by name (or in ``suite`` alone); a method that none lists goes
    with the first whose protocol asks for what it can. Raises ConfigError where there is none."""
    known = [registry.suite(suite)] if suite else [registry.suite(name) for name in registry.suites()]
    entry = registry.find(method)
    places = [(listing, methods) for one in known for listing, methods in _listings(one) if _chosen(listing, setting)]
    for listing, methods in places:
        if entry.name in methods or method in methods:
            return listing
    for listing, _ in places:
        one = registry.suite(listing.suite)
        if set(registry.protocol(one.in_part(listing.part).protocol).REQUIRES) <= set(entry.card.capabilities):
            return listing
    raise ConfigError(
        f"no suite{f' {suite}' if suite else ''} asks for what {entry.name} can do",
        where="profile",
        nearest=[listing.suite for listing, _ in places][:3],
    )


def methods_of(suite: str) -> list[str]:
    """Every method that a suite lists, in any part or setting, in the order of their first mention."""
    return list(dict.fromkeys(name for _, methods in _listings(registry.suite(suite)) for name in methods))


def _listings(suite: Suite) -> Iterator[tuple[Listing, Sequence[str]]]:
    if suite.variants:
        for setting in suite.variants:
            yield Listing(suite.name, MAIN, setting), suite.in_setting(setting).methods
    else:
        yield Listing(suite.name), suite.methods
    for part in suite.parts:
        yield Listing(suite.name, part), suite.in_part(part).methods


def _chosen(listing: Listing, setting: str) -> bool:
    return not setting or listing.setting == setting


def _of_config(
    config: RunConfig,
    name: str,
    listing: Listing,
    throughput: ThroughputSuite,
    batch: int | None,
    resolution: int | None,
) -> Iterator[Subject]:
    planned = {cell.key: cell for cell in planning.cells(replace(config, references=(), seeds=(0,)))}
    for cell in planned.values():
        if cell.method != name:
            continue
        upstream = {role: planned[key] for role, key in cell.upstream.items()}
        adjusted = {k: v for k, v in throughput.presets_of(cell.tier).items() if cell.config.get(k, v) != v}
        changed = dict(cell.config) | adjusted | ({"batch_size": batch} if batch else {})
        data, made_up = throughput.shaped(cell, resolution)
        budget = Budget(cell.budget.name, max(cell.budget.images, LEAST_STEPS * int(changed["batch_size"])))
        yield Subject(replace(cell, config=changed, data=data, budget=budget), listing, upstream, adjusted, made_up)


def _head(word: str) -> str:
    """The method that a word is about, or the first part of its key."""
    return word.partition("=")[0].partition(".")[0]


def _with_needs(name: str) -> set[str]:
    """The method's name and those of the methods it builds on."""
    entry = registry.find(name)
    return {entry.name, *(registry.find(needed).name for needed in entry.card.needs.values())}


def _quoted(name: str) -> str:
    return name if name.isidentifier() else '"' + name.replace('"', '\\"') + '"'


def known_methods(names: Sequence[str]) -> list[str]:
    """The names as they are, each a registered method or a method's folder. Raises ConfigError for one given twice."""
    for name in names:
        registry.find(name)
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise unknown("method given twice:", twice, (), "profile")
    return list(names)
