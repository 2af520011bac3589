"""What there is: methods, suites and protocols, found by scanning files; code is imported only by ``load``.

A method comes from ``methods/<name>/`` beside the harness (a checkout or an installed wheel alike), from an installed
package with an entry point in the group ``parallax.methods`` that names a package holding a card, or from any folder.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import importlib.machinery
import importlib.util
import os
import sys
import types
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from harness import codedigest
from harness.cards import Card, read_card, read_preset
from harness.naming import TIERS, unknown
from harness.suite_files import Suite, read_suite
from harness.types import Cell, ConfigError

ROOT = Path(__file__).resolve().parents[1]
"""The folder that holds ``harness``, ``methods`` and ``suites``: a checkout, or site-packages."""


@dataclass(frozen=True)
class MethodEntry:
    """One method folder: its card, and the package it is imported as (empty for a folder outside any package)."""

    card: Card
    folder: Path
    package: str = ""

    @property
    def name(self) -> str:
        return self.card.name

    @property
    def tiers(self) -> tuple[str, ...]:
        """The tiers this method has a preset for."""
        return tuple(tier for tier in TIERS if (self.folder / f"{tier}.yaml").is_file())

    def preset_tier(self, tier: str) -> str:
        """The tier whose preset serves ``tier``: its own, or the largest smaller one of a folder that has fewer."""
        smaller = [known for known in self.tiers if TIERS.index(known) <= TIERS.index(tier)]
        return smaller[-1] if smaller else tier

    def preset(self, tier: str, setting: str = "", base: str = "") -> dict[str, Any]:
        """The flat configuration for a tier, in a suite's setting; of a method that plugs into others, over that of
        ``base`` (empty: the one its own preset names).

        Raises ConfigError where the file is missing or not flat, the base cannot take it, or both have a key.
        """
        own = self._own(tier, setting)[0]
        if not self.card.base:
            return own
        host = find_base(self, base or own["base"])
        below = host.preset(tier, setting)
        both = sorted(set(own) & set(below))
        if both:
            raise ConfigError(f"{', '.join(both)}: also a key of its base {host.name}", where=str(self.folder))
        return {**below, **own, "base": base or own["base"]}

    def seconds_per_kimg(self, tier: str, setting: str = "") -> float | None:
        """Declared CPU seconds per 1000 training images, an estimate for plans; None where nothing is declared."""
        return self._own(tier, setting)[1]

    def _own(self, tier: str, setting: str) -> tuple[dict[str, Any], float | None]:
        return read_preset(self.folder, self.preset_tier(tier), setting, plugs=bool(self.card.base))

    @property
    def overlays(self) -> tuple[tuple[str, str], ...]:
        """Tier and setting of every ``<tier>.<setting>.yaml``."""
        names = sorted(path.stem for path in self.folder.glob("*.*.yaml"))
        return tuple((tier, setting) for tier, _, setting in (name.partition(".") for name in names) if tier in TIERS)


@dataclass(frozen=True)
class Found:
    """Result of a scan: usable methods, and the error of every folder whose card is wrong."""

    methods: Mapping[str, MethodEntry]
    broken: Mapping[str, ConfigError]


# ---------------------------------------------------------------------------------------------------- methods
@functools.cache
def scan() -> Found:
    """Every method of the checkout and of installed plug-ins. A wrong card is reported, and hides no other method."""
    good: dict[str, MethodEntry] = {}
    broken: dict[str, ConfigError] = {}
    for path in sorted((ROOT / "methods").glob("*/card.yaml")):
        _add(path.parent, f"methods.{path.parent.name}", good, broken)
    for point in sorted(entry_points(group="parallax.methods"), key=lambda p: p.name):
        folder = _folder_of(point)
        if folder is None:
            broken[point.name] = ConfigError(
                "no folder with a card.yaml behind this entry point",
                where=f"entry point {point.name} = {point.value}",
                remedy="Let the entry point name a package that holds card.yaml.",
            )
        else:
            _add(folder, point.module, good, broken)
    return Found(good, broken)


def methods() -> dict[str, MethodEntry]:
    """All registered methods by name, scanned from cards; nothing is imported."""
    return dict(scan().methods)


def find(name_or_path: str) -> MethodEntry:
    """The entry of a registered name or of a method folder. Raises ConfigError with the nearest names."""
    found = scan()
    if name_or_path in found.methods:
        return found.methods[name_or_path]
    if name_or_path in found.broken:
        raise found.broken[name_or_path]
    path = Path(name_or_path).expanduser()
    if path.is_dir():
        folder = path.resolve()
        for entry in found.methods.values():
            if entry.folder == folder:
                return entry
        return MethodEntry(read_card(folder), folder)
    if os.sep in name_or_path:
        raise ConfigError("no such method folder", where=name_or_path, remedy="Give a folder that holds card.yaml.")
    raise unknown("method", name_or_path, (*found.methods, *found.broken))


def find_base(entry: MethodEntry, name_or_path: str) -> MethodEntry:
    """The method into which ``entry`` is to be plugged. Raises ConfigError, with those that can take it."""
    able = [name for name, found in methods().items() if _takes(found, entry.card.base)]
    if name_or_path not in scan().methods and os.sep not in name_or_path:
        raise unknown("base", name_or_path, able, f"{entry.name}.base")
    host = find(name_or_path)
    if not _takes(host, entry.card.base):
        what = entry.card.base.replace("_", " ")
        raise ConfigError(
            f"{host.name} has no {what} of its own",
            where=f"{entry.name}.base",
            remedy=f"Choose one that has: {', '.join(able)}.",
        )
    return host


def _takes(host: MethodEntry, capability: str) -> bool:
    """Whether something may be plugged into the method: it has the capability, and not from a base itself."""
    return capability in host.card.capabilities and not host.card.base


def base_of(cell: Cell) -> MethodEntry | None:
    """The method into which that of the cell is plugged, None for a method of its own."""
    named = cell.config.get("base")
    if cell.role != "method" or not isinstance(named, str):
        return None
    entry = find(cell.source or cell.method)
    return find_base(entry, named) if entry.card.base else None


def load(name_or_path: str) -> type[Any]:
    """Import and return the class a card's ``entry`` names, from inside the method's folder only.

    Raises ConfigError where the module cannot be imported or has no such class.
    """
    entry = find(name_or_path)
    module_name, _, attribute = entry.card.entry.partition(":")
    package = entry.package or _mount(entry.folder)
    where = str(entry.folder / f"{module_name}.py")
    try:
        module = importlib.import_module(f"{package}.{module_name}")
    except Exception as error:
        raise ConfigError(
            f"the method cannot be imported: {type(error).__name__}: {error}",
            where=where,
            remedy="Inside a method folder import neighbours relatively, as in 'from .model import Generator'.",
        ) from error
    found = getattr(module, attribute, None)
    if not isinstance(found, type):
        raise ConfigError(
            f"entry: {module_name}.py has no class {attribute!r}",
            where=str(entry.folder / "card.yaml"),
            nearest=[n for n, v in vars(module).items() if isinstance(v, type) and v.__module__ == module.__name__],
        )
    return found


def _add(folder: Path, package: str, good: dict[str, MethodEntry], broken: dict[str, ConfigError]) -> None:
    try:
        card = read_card(folder)
        if package == f"methods.{folder.name}" and card.name != folder.name:
            raise ConfigError(
                f"name: {card.name!r} differs from its folder {folder.name!r}", where=str(folder / "card.yaml")
            )
        if card.name in good:
            raise ConfigError(
                f"name: {card.name!r} is taken by {good[card.name].folder}", where=str(folder / "card.yaml")
            )
    except ConfigError as error:
        broken[folder.name] = error
    else:
        good[card.name] = MethodEntry(card, folder.resolve(), package)


def _folder_of(point: EntryPoint) -> Path | None:
    """Folder of an entry point's package, found without importing it."""
    top, *rest = point.module.split(".")
    spec = importlib.machinery.PathFinder.find_spec(top)
    for place in (spec.submodule_search_locations or ()) if spec else ():
        folder = Path(place, *rest)
        if (folder / "card.yaml").is_file():
            return folder
    return None


def _mount(folder: Path) -> str:
    """Make a folder importable as a package of its own, without touching sys.path, and return the package's name."""
    name = f"parallax_folder_{hashlib.sha256(str(folder).encode()).hexdigest()[:12]}"
    if name not in sys.modules:
        init = folder / "__init__.py"
        if init.is_file():
            spec = importlib.util.spec_from_file_location(name, init, submodule_search_locations=[str(folder)])
            assert spec is not None
            assert spec.loader is not None
            package = importlib.util.module_from_spec(spec)
            sys.modules[name] = package
            spec.loader.exec_module(package)
        else:
            package = types.ModuleType(name)
            package.__path__ = [str(folder)]
            sys.modules[name] = package
    return name


# ------------------------------------------------------------------------------------------ suites and protocols
MEASURED = "throughput"
"""The suite that ``profile`` measures: nothing of it is trained or scored, so that it is none of ``suites()``."""


def suites() -> dict[str, Path]:
    """Suite files by name."""
    found = sorted((ROOT / "suites").glob("*.yaml"))
    return {path.stem: path for path in found if path.stem != MEASURED}


def suite(name_or_path: str) -> Suite:
    """The suite of a name, or of a YAML file elsewhere. Raises ConfigError with the nearest names."""
    known = suites()
    if name_or_path == MEASURED:
        raise ConfigError(
            "is measured, not trained", where=f"suite={MEASURED}", remedy="Write: python -m harness profile"
        )
    if name_or_path not in known and not name_or_path.endswith((".yaml", ".yml")):
        raise unknown("suite", name_or_path, known)
    found = read_suite(known.get(name_or_path, Path(name_or_path).expanduser()))
    if found.protocol not in protocols():
        raise unknown("protocol", found.protocol, protocols(), str(found.path))
    return found


def protocols() -> tuple[str, ...]:
    """Names of the evaluation protocols."""
    return tuple(sorted(path.stem for path in (ROOT / "suites" / "protocols").glob("[a-z]*.py")))


def protocol(name: str) -> types.ModuleType:
    """Import and return the module of an evaluation protocol. Raises ConfigError with the nearest names."""
    if name not in protocols():
        raise unknown("protocol", name, protocols())
    return importlib.import_module(f"suites.protocols.{name}")


def code_digest(method: str, protocol: str, family: str = "", base: str = "") -> str:
    """Digest of the code that can change a result: the method's folder and the blocks it imports, those of the method
    ``base`` it is plugged into, the generator of the data's family and the protocol (empty: of training alone).
    ``method`` is a name, a folder, or a reference row such as ``floor:noise`` (no folder)."""
    if method.partition(":")[0] in ("floor", "oracle"):
        return codedigest.code_digest(ROOT, None, protocol, family)
    entry = find(method)
    host = find_base(entry, base).folder if entry.card.base and base else None
    return codedigest.code_digest(ROOT, entry.folder, protocol, family, host)
