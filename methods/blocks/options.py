"""From a method's flat configuration to its typed options."""

from __future__ import annotations

import difflib
import types
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from harness.types import ConfigError

T = TypeVar("T")


def parse_options(kind: type[T], config: Any, method: str) -> T:
    """Build the frozen dataclass ``kind`` from ``config`` (item access), checking every value against its annotation.

    Understands bool, int, float, str, Literal, ``tuple[X, ...]`` and ``X | None``. Raises ConfigError for a missing
    key, a value of another type, or a word outside a Literal (with the nearest words).
    """
    hints = get_type_hints(kind)
    values: dict[str, Any] = {}
    for item in fields(kind):  # type: ignore[arg-type]
        where = f"{method}.{item.name}"
        try:
            raw = config[item.name]
        except (KeyError, AttributeError):
            raise ConfigError("is missing from the configuration", where=where) from None
        values[item.name] = _convert(raw, hints[item.name], where)
    return kind(**values)


def _convert(raw: Any, hint: Any, where: str) -> Any:
    origin = get_origin(hint)
    if origin is Literal:
        words = get_args(hint)
        if raw not in words:
            close = difflib.get_close_matches(str(raw), [str(word) for word in words], n=2)
            raise ConfigError(f"{raw!r} is not one of {', '.join(map(str, words))}", where=where, nearest=close)
        return raw
    if origin in (Union, types.UnionType):
        if raw is None:
            return None
        (inner,) = (arg for arg in get_args(hint) if arg is not type(None))
        return _convert(raw, inner, where)
    if origin is tuple:
        if isinstance(raw, (str, Mapping)) or not hasattr(raw, "__iter__"):
            raise ConfigError(f"{raw!r} is not a list", where=where, remedy="Write it as [1, 2].")
        return tuple(_convert(value, get_args(hint)[0], where) for value in raw)
    if hint is float and isinstance(raw, int) and not isinstance(raw, bool):
        return float(raw)
    if not isinstance(raw, hint) or (hint is not bool and isinstance(raw, bool)):
        raise ConfigError(f"{raw!r} is not of type {hint.__name__}", where=where)
    return raw
