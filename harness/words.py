"""Words of the command line that need no configuration: key=value as text, and what such text may stand for."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence

from harness.naming import TIERS, unknown
from harness.types import ConfigError
from harness.values import COMMAND_LINE


def key_values(words: Sequence[str], known: Sequence[str], where: str = COMMAND_LINE) -> dict[str, str]:
    """key=value words as text. Raises ConfigError for other words, unknown keys and keys given twice."""
    given: dict[str, str] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not value:
            raise ConfigError(f"{word!r} is not key=value", where=where, remedy=f"Keys: {', '.join(known)}.")
        if key not in known:
            raise unknown("key", key, known, where)
        if key in given:
            raise ConfigError(f"{key} is given twice", where=where)
        given[key] = value
    return given


def tier(given: Mapping[str, str]) -> str | None:
    """The tier that was given, if any. Raises ConfigError for one that does not exist."""
    name = given.get("tier")
    if name is not None and name not in TIERS:
        raise unknown("value for tier:", name, TIERS, COMMAND_LINE)
    return name


def names(key: str, text: str) -> list[str]:
    """The names of a list, with or without brackets. Raises ConfigError for an empty one."""
    found = [name.strip().strip("\"'") for name in re.sub(r"^\[(.*)\]$", r"\1", text.strip()).split(",")]
    if not all(found):
        raise ConfigError(f"{key}={text} must be a list of names or folders", where=COMMAND_LINE)
    return found


def above_zero(key: str, text: str, below: float = math.inf) -> float:
    """A finite number above 0 and below ``below``. Raises ConfigError for other text."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not (0 < number < below):
        limit = f" and below {below:g}" if below < math.inf else ""
        plain = f"Write a plain number, such as {key}={min(2.5, below / 2)}"
        raise ConfigError(f"{key}={text} must be a number above 0{limit}", where=COMMAND_LINE, remedy=plain)
    return number
