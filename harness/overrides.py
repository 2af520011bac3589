"""The words of a command line as keys and values: Hydra's override grammar and compose, and which keys there are."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from harness import registry, values
from harness.naming import nearest, unknown
from harness.types import ConfigError
from harness.values import COMMAND_LINE
from harness.yaml_files import refuse_code

_OPEN = ("data.options",)  # what may stand below is known to the data family, which checks it
_PATHS = ("store", "cache", "out", "data.root")


def overrides(argv: Sequence[str]) -> dict[str, list[Any]]:
    """Key -> its values (several for a sweep), by Hydra's grammar, with plain Python values.

    Raises ConfigError for what is not key=value, a repeated key and a value that names code.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.core.override_parser.types import Override, OverrideType
    from hydra.errors import HydraException

    parser, given = OverridesParser.create(), dict[str, list[Any]]()
    for word in argv:
        try:
            override: Override = parser.parse_override(word)
            found = [override.value()]
            if override.is_sweep_override():
                found = [Override._convert_value(v) for v in override.sweep_iterator()]
        except (HydraException, ValueError) as error:
            raise ConfigError(
                f"{word!r} is not key=value ({str(error).splitlines()[0]})",
                where=COMMAND_LINE,
                remedy="Quote a value with special characters: 'key=\"the value\"'.",
            ) from None
        if override.type is not OverrideType.CHANGE or override.package is not None or not override.key_or_group:
            raise ConfigError(f"{word!r}: only key=value is understood here", where=COMMAND_LINE)
        key = {"data": "data.name", "root": "data.root"}.get(override.key_or_group, override.key_or_group)
        if key in given:
            raise ConfigError(f"{key} is given twice", where=COMMAND_LINE, remedy="Sweep with key=first,second.")
        if not found:
            raise ConfigError(f"{word!r} has no value", where=COMMAND_LINE)
        for value in found:
            values.finite(key, value)
            if key not in (*_PATHS, "methods", "suite", "references"):
                refuse_code(key, value, COMMAND_LINE)
        given[key] = found
    return given


def single(given: Mapping[str, list[Any]], key: str, default: Any) -> Any:
    """The one value of a key, or the default (called where it can be); raises ConfigError for a sweep."""
    if key not in given:
        return default() if callable(default) else default
    if len(given[key]) > 1:
        listed = ",".join(str(v) for v in given[key])
        raise ConfigError(
            f"{key}={listed} is a sweep, which only keys of methods allow",
            where=COMMAND_LINE,
            remedy=f"Write {key}=[{listed}] for a list." if key in ("methods", "seeds", "references") else "",
        )
    return given[key][0]


def check_keys(given: Mapping[str, list[Any]], base: Mapping[str, Any], presets: Mapping[str, Any]) -> None:
    """Raise ConfigError, with the nearest, for a key that is neither in ``base`` nor in a preset."""
    known = [
        f"{key}.{below}" if isinstance(value, dict) else key
        for key, value in base.items()
        for below in (value if isinstance(value, dict) else [""])
    ]
    for key in given:
        head, _, tail = key.partition(".")
        if any(key.startswith(f"{place}.") for place in _OPEN) or key in known:
            if head not in presets:
                single(given, key, None)
            continue
        if tail and head not in base and head in registry.methods():
            raise ConfigError(
                f"{key}: {head} is not among methods=[{','.join(presets)}]",
                where=COMMAND_LINE,
                remedy=f"Add it: methods=[{','.join((*presets, head))}].",
            )
        if head in presets:
            close = [f"{head}.{name}" for name in nearest(tail, presets[head])]
            remedy = "" if close else f"Keys of {head}: {', '.join(presets[head])}."
            raise ConfigError(f"unknown key {key!r}", where=COMMAND_LINE, nearest=close, remedy=remedy)
        raise unknown("key", key, known, COMMAND_LINE)


def compose(base: dict[str, Any], fixed: Mapping[str, Any]) -> dict[str, Any]:
    """``base`` with other values, as Hydra composes them; raises ConfigError where a value does not fit."""
    import hydra
    from hydra.core.config_store import ConfigStore
    from hydra.core.global_hydra import GlobalHydra
    from hydra.core.override_parser.types import Quote, QuotedString
    from hydra.errors import HydraException
    from omegaconf import OmegaConf

    def word(value: Any) -> str:
        if isinstance(value, str):
            return QuotedString(value, Quote.double).with_quotes()
        if isinstance(value, list):
            return f"[{','.join(word(item) for item in value)}]"
        return json.dumps(value)

    ConfigStore.instance().store(name="parallax", node=base)
    GlobalHydra.instance().clear()
    words = [f"{'++' if key.startswith('data.options.') else ''}{key}={word(value)}" for key, value in fixed.items()]
    try:
        with hydra.initialize(version_base="1.3", config_path=None):
            composed = OmegaConf.to_container(hydra.compose("parallax", overrides=words), resolve=False)
    except HydraException as error:
        raise ConfigError(str(error).splitlines()[0], where=COMMAND_LINE) from None
    assert isinstance(composed, dict)
    return {str(key): value for key, value in composed.items()}
