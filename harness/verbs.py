"""The verbs beside ``run``: each takes the words after it and returns an exit code."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness import registry
from harness.console import columns, leaderboard_text
from harness.naming import unknown
from harness.types import ConfigError, HarnessError
from harness.words import above_zero, key_values, names
from harness.words import tier as tier_of


def leaderboard(words: Sequence[str]) -> int:
    """Write and show the tables of a suite from everything in the store."""
    from harness.config import default_store
    from harness.store import Store
    from harness.tables import leaderboard as tables

    given = key_values(words, ("suite", "tier", "store", "out", "kept", "price_per_hour"), "leaderboard")
    price = above_zero("price_per_hour", given["price_per_hour"]) if "price_per_hour" in given else None
    suite = registry.suite(_needed(given, "suite", registry.suites(), "leaderboard")).name
    tier = tier_of(given)
    store = Store(_place(given, "store", default_store()))
    out = _place(given, "out", store.root / "tables")
    kept = _place(given, "kept", out) if "kept" in given else None
    written = tables.write(store, suite, out, tier, kept, price=price)
    if not written:
        raise ConfigError(
            f"no finished cell of suite {suite}{f' at tier {tier}' if tier else ''}",
            where=str(store.root),
            remedy=f"Run it first: python -m harness run suite={suite}",
        )
    rows = tables.rows_of(store, suite, tier, kept)
    for table in dict.fromkeys(row.table for row in rows):
        members = [row for row in rows if row.table == table]
        print(f"{suite}, tier {members[0].tier}, {members[0].data}\n\n{leaderboard_text(members, price=price)}\n")
    print("\n".join(str(path) for path in written if path.suffix in (".csv", ".md")))
    return 0


def claims(words: Sequence[str]) -> int:
    """Judge the claims of a suite, or of every suite that states some, from everything in the store."""
    from harness.config import default_store
    from harness.store import Store
    from harness.tables import claim_files, ledger

    given = key_values(words, ("suite", "tier", "store", "out", "kept"), "claims")
    tier = tier_of(given)
    store = Store(_place(given, "store", default_store()))
    out = _place(given, "out", store.root / "tables")
    kept = _place(given, "kept", out) if "kept" in given else None
    for name in [given["suite"]] if "suite" in given else claim_files.claimed_suites():
        suite = registry.suite(name)
        for judged_tier, verdicts in ledger.write(store, suite, out, tier, kept).items():
            table = columns(ledger.CONSOLE, ledger.console_rows(verdicts))
            folder = out / judged_tier / suite.name
            print(f"{suite.name}, tier {judged_tier}\n\n{table}\n\n{folder / 'claims.csv'}\n{folder / 'claims.md'}\n")
    return 0


def verify(words: Sequence[str]) -> int:
    """Make committed tables anew from their archives, score kept predictions anew, and say what differs."""
    from harness import verifying
    from harness.config import default_store
    from harness.running.settings import RunSettings, default_cache
    from harness.store import Store

    places = [word for word in words if "=" not in word]
    known = ("suite", "tier", "store", "cache", "methods", "limit")
    given = key_values([word for word in words if "=" in word], known, "verify")
    if len(places) > 1:
        raise ConfigError("give one folder of tables", where="verify", remedy="python -m harness verify results")
    limit = given.get("limit", "")
    if limit and not limit.isdecimal():
        raise ConfigError(f"limit={limit} is not a count of cells", where="command line", remedy="0: tables only.")
    store = _place(given, "store", default_store())
    if "store" in given and not store.is_dir():
        raise ConfigError("no such folder", where=str(store), remedy="Leave store= out if no results are kept here.")
    wanted = verifying.Wanted(
        results=Path(places[0]).expanduser() if places else default_store().parent,
        store=Store(store),
        settings=RunSettings(device="cpu", cache=_place(given, "cache", default_cache())),
        suite=given.get("suite", ""),
        tier=given.get("tier", ""),
        methods=tuple(names("methods", given["methods"])) if "methods" in given else (),
        limit=int(limit) if limit else None,
    )
    return verifying.run(wanted)


def report(words: Sequence[str]) -> int:
    """Write one page about a suite, or about every suite that has cells, from everything in the store."""
    from harness.config import default_store
    from harness.store import Store
    from harness.tables import report as page

    given = key_values(words, ("suite", "tier", "store", "out", "kept"), "report")
    tier = tier_of(given)
    store = Store(_place(given, "store", default_store()))
    out = _place(given, "out", store.root / page.NAME)
    kept = _place(given, "kept", store.root) if "kept" in given else None
    made = page.write(store, out, given.get("suite"), tier, kept)
    print(f"{columns(page.CONSOLE, page.console_rows(made))}\n\n{out} ({out.stat().st_size / 1e6:.1f} MB)")
    return 0


def listing(words: Sequence[str]) -> int:
    """Print methods, suites and protocols, or those kinds that were named."""
    kinds: dict[str, Callable[[], str]] = {"methods": _methods, "suites": _suites, "protocols": _protocols}
    for word in words:
        if word not in kinds:
            raise unknown("list", word, kinds, "command line")
    print("\n\n".join(f"{kind}\n{kinds[kind]()}" for kind in words or kinds))
    return 0


def score(words: Sequence[str]) -> int:
    """Score samples, anomaly maps or label maps that somebody already has."""
    kinds: dict[str, tuple[tuple[str, str], tuple[str, ...]]] = {
        "generation": (("real", "fake"), ("features", "resize", "resolution", "weights", "out")),
        "anomaly": (("maps", "root"), ("size", "smoothing", "connectivity", "score", "only", "out")),
        "segmentation": (
            ("pred", "target"),
            ("classes", "ignore", "subset", "missing", "absent", "names", "ids", "out"),
        ),
    }
    if not words or words[0] not in kinds:
        raise unknown("kind of score", words[0] if words else "", kinds, "score")
    kind = words[0]
    folders, keys = kinds[kind]
    given = key_values(words[1:], (*folders, *keys), f"score {kind}")
    first, second = (Path(_needed(given, name, (), f"score {kind}")).expanduser() for name in folders)
    rest = {name: value for name, value in given.items() if name not in folders}
    if kind == "generation":
        from harness import scoring

        return scoring.generation(first, second, **rest)
    if kind == "segmentation":
        from harness import segmentation_scoring

        return segmentation_scoring.run(first, second, **rest)
    from harness import anomaly_scoring

    return anomaly_scoring.run(first, second, **rest)


def replay(words: Sequence[str]) -> int:
    """Repeat the failing step of a failed cell, named by its key (or how it begins), its folder or its bundle."""
    from harness.config import default_store

    names = [word for word in words if not word.startswith("store=")]
    given = key_values([word for word in words if word.startswith("store=")], ("store",), "replay")
    if len(names) != 1:
        raise ConfigError("give one failure bundle", where="replay", remedy="python -m harness replay path/to/failure")
    store = _place(given, "store", default_store())
    by_key = sorted(store.glob(f"{names[0]}*/failure")) if names[0].isalnum() else []
    if len(by_key) > 1:
        raise ConfigError(f"{len(by_key)} failed cells begin with {names[0]!r}", where=str(store))
    folder = by_key[0] if by_key else Path(names[0]).expanduser()
    from harness.running import forensics

    print(forensics.replay(folder / "failure" if (folder / "failure").is_dir() else folder, registry.load))
    return 0


# ------------------------------------------------------------------------------------------------------- listing
def _methods() -> str:
    found = registry.scan()
    rows = []
    for name, entry in found.methods.items():
        card = entry.card
        can = [*card.capabilities, *(["pose"] if card.controls_pose else []), *(["depth"] if card.has_depth else [])]
        paper = card.paper.get("venue", "")
        arxiv = f"arXiv {card.paper['arxiv']}" if "arxiv" in card.paper else ""
        rows.append(
            [name, card.title, ", ".join(filter(None, [str(paper), arxiv])), " ".join(can), " ".join(entry.tiers)]
        )
    text = columns(["name", "title", "published", "can", "tiers"], rows)
    broken = [f"unusable: {error}" for error in found.broken.values()]
    return "\n".join([text, *broken])


def _suites() -> str:
    rows = []
    for name in registry.suites():
        try:
            suite = registry.suite(name)
        except HarnessError as error:
            rows.append([name, f"unusable: {error}", "", ""])
        else:
            rows.append([name, suite.title, suite.protocol, " ".join(suite.methods)])
            parts = [suite.in_part(part) for part in suite.parts]
            rows += [["", f"part={one.part}: {one.data['name']}", one.protocol, " ".join(one.methods)] for one in parts]
    return columns(["name", "title", "protocol", "methods"], rows)


def _protocols() -> str:
    return columns(["name"], [[name] for name in registry.protocols()])


# --------------------------------------------------------------------------------------------------------- words
def _needed(given: Mapping[str, str], key: str, known: Mapping[str, Any] | Sequence[str], where: str) -> str:
    if key not in given:
        raise ConfigError(f"{key}=... is missing", where=where, nearest=[f"{key}={name}" for name in known])
    return given[key]


def _place(given: Mapping[str, str], key: str, default: Path) -> Path:
    return Path(given[key]).expanduser().absolute() if key in given else default
