"""The names of tiers and precisions, and the error for a name that does not exist."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from harness.types import ConfigError

TIERS = ("smoke", "micro", "small", "paper")
PRECISIONS = ("auto", "fp32", "bf16")


def nearest(word: str, known: Iterable[str], count: int = 3) -> list[str]:
    """The valid names closest to ``word``, best first; empty when none is close."""
    return difflib.get_close_matches(word, sorted(set(known)), n=count, cutoff=0.55)


def unknown(kind: str, word: str, known: Iterable[str], where: str = "") -> ConfigError:
    """ConfigError for a name that does not exist, with the nearest names or else all of them."""
    names = sorted(set(known))
    close = nearest(word, names)
    listed = ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")
    remedy = "" if close else f"Known: {listed}." if names else "There are none."
    return ConfigError(f"unknown {kind} {word!r}", where=where, nearest=close, remedy=remedy)
