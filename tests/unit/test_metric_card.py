"""Cards and column names."""

from __future__ import annotations

import copy
import importlib
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.metrics.card import Column, MetricCard, column_name, parse_column
from harness.metrics.errors import MetricError, NonFinite, ProtocolMismatch, UnknownOption
from harness.types import HarnessError

CARD = MetricCard("fid", "squared feature unit", "lower", (0.0, math.inf), protocol=("n", "ref", "resize"))
words = st.from_regex(r"[A-Za-z0-9_.+\-@]+", fullmatch=True)


def test_fields_stand_in_the_order_of_the_card() -> None:
    name = column_name(CARD, "proc-v1", {"resize": "none", "n": 5000})
    assert name == "fid[proc-v1|n=5000|resize=none]"
    assert parse_column(name) == Column("fid", "proc-v1", {"n": "5000", "resize": "none"})
    assert column_name(CARD) == "fid"
    assert column_name(CARD, protocol={"n": 2}) == "fid[n=2]"
    assert parse_column("side[x100]") == Column("side", "x100")


@settings(deadline=None)
@given(space=st.none() | words, values=st.dictionaries(st.sampled_from(["n", "ref", "resize"]), words))
def test_parsing_a_printed_name_gives_it_back(space: str | None, values: dict[str, str]) -> None:
    name = column_name(CARD, space, values)
    parsed = parse_column(name)
    assert (parsed.metric, parsed.space, dict(parsed.protocol)) == ("fid", space, values)
    assert str(parsed) == name


@pytest.mark.parametrize(
    "name",
    ["", "Fid", "fid[", "fid[]", "fid]", "fid[a|b]", "fid[n=]", "fid[=1]", "fid[n=1|n=2]", "fid[a b]", "fid[a]x"],
)
def test_malformed_names(name: str) -> None:
    with pytest.raises(ProtocolMismatch, match=r"column name|lacks a value"):
        parse_column(name)


def test_unknown_fields_and_unprintable_values() -> None:
    with pytest.raises(ProtocolMismatch, match="Did you mean ref"):
        column_name(CARD, "proc-v1", {"reff": "train"})
    with pytest.raises(ProtocolMismatch):
        column_name(CARD, "proc|v1")
    with pytest.raises(UnknownOption):
        MetricCard("FID", "", "lower", (0, 1))
    with pytest.raises(UnknownOption):
        MetricCard("fid", "", "lower", (0, 1), invariances=frozenset({"affine"}))


def test_errors_are_value_errors_of_the_harness_and_cross_processes() -> None:
    error = NonFinite("fake holds 1 NaN", where="fid", remedy="Look at it.")
    assert isinstance(error, (MetricError, HarnessError, ValueError))
    assert str(copy.copy(error)) == "fid: fake holds 1 NaN. Look at it."


@pytest.mark.parametrize("module", ["fid", "kid", "manifold"])
def test_cards_are_complete(module: str) -> None:
    cards = importlib.import_module(f"harness.metrics.{module}").CARDS
    assert cards
    for card in cards:
        assert card.unit
        assert card.bias
        assert card.floor
        assert card.oracle
        assert card.range[0] < card.range[1]
        assert "n" in card.protocol
