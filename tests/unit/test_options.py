"""Flat configurations become typed options, or an error that says which key."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import pytest

from harness.types import ConfigError
from methods.blocks.options import parse_options


@dataclass(frozen=True)
class _Options:
    rate: float
    count: int
    widths: tuple[int, ...]
    kind: Literal["soft", "hard"]
    flag: bool
    top: float | None


GOOD: dict[str, Any] = {"rate": 1, "count": 2, "widths": [3, 4], "kind": "soft", "flag": True, "top": None}


def test_values_are_converted() -> None:
    options = parse_options(_Options, GOOD, "toy")
    assert options == _Options(1.0, 2, (3, 4), "soft", True, None)
    assert isinstance(options.rate, float)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("kind", "sofd", "toy.kind: 'sofd' is not one of soft, hard. Did you mean soft"),
        ("count", 1.5, "toy.count: 1.5 is not of type int"),
        ("count", True, "toy.count: True is not of type int"),
        ("rate", "fast", "toy.rate: 'fast' is not of type float"),
        ("flag", 1, "toy.flag: 1 is not of type bool"),
        ("widths", 3, "toy.widths: 3 is not a list"),
        ("widths", "34", "toy.widths: '34' is not a list"),
        ("widths", [1, "a"], "toy.widths: 'a' is not of type int"),
    ],
)
def test_a_wrong_value_is_named(key: str, value: Any, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_options(_Options, {**GOOD, key: value}, "toy")
    assert message in str(caught.value)


def test_a_missing_key_is_named() -> None:
    with pytest.raises(ConfigError, match=r"toy\.count: is missing"):
        parse_options(_Options, {k: v for k, v in GOOD.items() if k != "count"}, "toy")
