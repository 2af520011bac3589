"""Properties of the report page: names are text wherever they come from and whatever they hold."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from harness.store import StoredResult
from harness.tables import svg
from harness.tables.text import clean
from harness.types import DataSpec
from tests.unit.report_bench import FID, Page, changed, written
from tests.unit.stored_results import result

NASTY = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "</style></script></svg></title>--><!--",
    "{{ 7 * 7 }}{% raw %}",
    "&lt;b&gt;&#60;",
    "\u202egnol \u05d0\u05d1\u05d2 \u0645\u0631\u062d\u0628\u0627",
    "x" * 3000,
    "a\x00b\x1b[31mc\ud800d\uffff",
    "../../etc/passwd",
    "javascript:alert(1)",
)
NAMES = st.one_of(st.sampled_from(NASTY), st.text(min_size=1, max_size=40))


def results(name: str) -> list[StoredResult]:
    """Cells that carry a text in every place that a user, a file or an error can fill."""
    data = DataSpec(name=name, resolution=32, splits={"train": 8}, options={"option": name})
    done = [
        result(
            name,
            seed,
            {FID: 2.0 + seed, "metric": 1.0},
            data=data,
            overrides={"key": name},
            notes={"metric": name},
            pictures={"samples": name},
            suite="elsewhere",
        )
        for seed in (0, 1)
    ]
    env = {"git": {"commit": name}, "cpu": name, "packages": {name: name}}
    facts = {"params": name, "device": name, "judges": name}
    cost = {"fit_seconds": 3.0}
    done = [changed(one, env=env, facts=facts, cost=cost, code=name) for one in done]
    failed = result(name, 2, {}, status="failed", reason=name, data=data, suite="elsewhere")
    return [*done, result("b", 0, {FID: 1.0}, data=data, suite="elsewhere"), failed]


def page(name: str) -> Page:
    """The page of such cells, and of a folder that cannot be read for this reason."""
    with tempfile.TemporaryDirectory() as folder:
        return Page(written(results(name), Path(folder), damaged=[name]))


@pytest.mark.filterwarnings("ignore:Glyph")
@settings(deadline=None, max_examples=5)
@example(NASTY[0])
@example(NASTY[1])
@example(NASTY[6])
@example(NASTY[8])
@given(NAMES)
def test_a_name_never_becomes_an_element_or_an_attribute(name: str) -> None:
    harmless, made = page("a name"), page(name)
    assert made.tags == harmless.tags
    assert made.raw == harmless.raw
    assert made.attributes["meta", "content"] == harmless.attributes["meta", "content"]
    assert Counter(made.attributes["a", "href"]) == Counter(harmless.attributes["a", "href"])
    shown = clean(name).replace("\r\n", "\n").replace("\r", "\n")
    assert any(shown in text.replace("\r\n", "\n").replace("\r", "\n") for text in made.texts)
    assert clean(made.content) == made.content


@settings(deadline=None, max_examples=50)
@given(st.text(), st.text())
def test_svg_texts_and_labels_come_back(words: str, label: str) -> None:
    made = Page(svg.picture(10, 10, label, [svg.text(1, 1, words, "start", label)]))
    assert [tag for tag, _ in made.tags] == ["svg", "text"]
    assert "".join(made.texts) == clean(words)
    assert made.attributes["svg", "aria-label"] == [clean(label)]


@settings(deadline=None, max_examples=50)
@given(st.lists(st.floats(), min_size=1, max_size=8), st.booleans())
def test_every_finite_number_stands_within_its_scale_in_order(values: list[float], logarithmic: bool) -> None:
    scale = svg.scale(values, 10, 90, logarithmic=logarithmic)
    known = sorted(value for value in values if abs(value) < float("inf") and (value > 0 or not logarithmic))
    assert (scale is None) == (not known)
    if scale is not None:
        places = [scale(value) for value in known]
        assert all(10 <= place <= 90 for place in places)
        assert places == sorted(places)
        assert all(10 <= place <= 90 for place, _ in scale.ticks())
