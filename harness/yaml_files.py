"""YAML read as data: safely, without code, and field by field with errors that name the file and the field."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from harness.naming import nearest, unknown
from harness.types import ConfigError

NAME = re.compile(r"[a-z][a-z0-9_]*")
_IMPORT_PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*[.:][A-Za-z_]\w*")
_CODE_KEYS = frozenset(("class", "cls", "callable", "function", "module", "import", "object"))


class _Loader(yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader):  # type: ignore[misc]
    """Safe YAML in which 1e-4 is a number and a repeated key is an error (YAML 1.1 says otherwise)."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} is not text; quote it", key_node.start_mark
                )
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} appears twice", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep=deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
)


def read_yaml(path: Path) -> dict[str, Any]:
    """Mapping of a YAML file. Raises ConfigError for a missing, unreadable, non-mapping or code-naming file."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError("no such file", where=str(path)) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot be read ({error})", where=str(path)) from None
    try:
        value = yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        code = "could not determine a constructor" in problem
        remedy = "Configuration is data: it may not name code." if code else ""
        raise ConfigError(problem, where=where, remedy=remedy) from None
    if not isinstance(value, dict):
        raise ConfigError(f"must hold a mapping of keys to values, not {type(value).__name__}", where=str(path))
    return value


def refuse_code(key: str, value: Any, where: str) -> None:
    """Raise ConfigError where a key or value of a configuration names code to import, call or interpolate."""
    last = key.rsplit(".", 1)[-1].lower()
    named = (last.startswith("_") and last.endswith("_") and len(last) > 2) or last in _CODE_KEYS
    for item in value if isinstance(value, (list, tuple)) else (value,):
        if isinstance(item, str):
            named = named or "!!python" in item or "${" in item or bool(_IMPORT_PATH.fullmatch(item))
    if named:
        raise ConfigError(
            f"{key}={value!r} names code or an interpolation, which a configuration may not do",
            where=where,
            remedy="Write plain numbers, words and lists; code belongs in a method folder.",
        )


def check_fields(raw: Mapping[str, Any], required: Sequence[str], allowed: Sequence[str], where: str) -> None:
    """Raise ConfigError, with the nearest, for unknown and for missing fields."""
    for key in raw:
        if key not in allowed:
            raise unknown("field", key, allowed, where)
    for key in required:
        if raw.get(key) is None:
            close = [k for k in raw if nearest(k, [key])]
            raise ConfigError(
                f"the field {key!r} is missing",
                where=where,
                nearest=close,
                remedy=f"Add a line '{key}: ...'. Required fields: {', '.join(required)}.",
            )


def is_scalar(value: Any) -> bool:
    """Whether a value is a word, a number, a boolean or null."""
    return value is None or isinstance(value, (str, int, float, bool))


def text_of(raw: Mapping[str, Any], key: str, where: str) -> str:
    """The text of a field. Raises ConfigError for anything else and for none."""
    value = raw[key]
    if not isinstance(value, str) or not value.strip():
        raise ConfigError(f"{key}: {value!r} must be text", where=where)
    return value


def flag_of(raw: Mapping[str, Any], key: str, where: str) -> bool:
    """The true or false of a field, false where it is missing."""
    value = raw.get(key, False)
    if not isinstance(value, bool):
        raise ConfigError(f"{key}: {value!r} must be true or false", where=where)
    return value


def texts_of(raw: Mapping[str, Any], key: str, where: str) -> tuple[str, ...]:
    """The list of names of a field."""
    value = raw[key]
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ConfigError(f"{key}: {value!r} must be a list of names", where=where)
    return tuple(value)


def mapping_of(raw: Mapping[str, Any], key: str, where: str) -> dict[str, Any]:
    """The mapping of a field, empty where it is missing."""
    value = raw.get(key) or {}
    if not isinstance(value, dict):
        raise ConfigError(f"{key}: {value!r} must be a mapping", where=where)
    return value
