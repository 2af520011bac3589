"""What changes the digest of the code that matters, and what does not."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import registry
from harness.codedigest import imports, source_digest
from harness.types import ConfigError

PROTOCOL = "generation_3d"
SOURCE = "def f(x):\n    return x + 1\n"


@pytest.mark.parametrize(
    "text",
    [
        "# a comment\ndef f(x):\n    return x + 1  # another\n",
        '"""Module."""\n\n\ndef f(x):\n    """Function."""\n    return x + 1\n',
        "def f( x ):\n\n    return (x +\n        1)\n",
    ],
)
def test_comments_docstrings_and_layout_do_not_count(text: str) -> None:
    assert source_digest(text) == source_digest(SOURCE)


@pytest.mark.parametrize(
    "text",
    [
        "def f(x):\n    return x + 2\n",
        "def f(x):\n    return x + 1.0\n",
        "def f(x, y=None):\n    return x + 1\n",
        "def f(x):\n    return x - 1\n",
        "async def f(x):\n    return x + 1\n",
        "def f(x):\n    return x + 1\n\n\nx = 'text'\n",
    ],
)
def test_behaviour_counts(text: str) -> None:
    assert source_digest(text) != source_digest(SOURCE)


@settings(deadline=None, max_examples=50)
@given(st.integers(), st.integers())
def test_every_constant_counts(a: int, b: int) -> None:
    assert (source_digest(f"x = {a}") == source_digest(f"x = {b}")) == (a == b)


def test_a_string_that_is_no_docstring_counts() -> None:
    assert source_digest("x = 1\n'a'\n") != source_digest("x = 1\n'b'\n")


def test_imports_are_resolved(tmp_path: Path) -> None:
    path = tmp_path / "b.py"
    path.write_text("import a.b\nfrom . import c\nfrom .d import e\ndef f():\n    from ..g import h\n")
    assert set(imports(path, "top.low.b")) >= {"a.b", "top.low.c", "top.low.d", "top.g"}


def test_the_folder_the_protocol_and_nothing_else(plugin: Path) -> None:
    first = registry.code_digest(str(plugin), PROTOCOL)
    (plugin / "card.yaml").write_text((plugin / "card.yaml").read_text() + "# note\n")
    assert registry.code_digest(str(plugin), PROTOCOL) == first
    source = (plugin / "method.py").read_text()
    (plugin / "method.py").write_text(source.replace("0.1", "0.1") + "\n# note\n")
    assert registry.code_digest(str(plugin), PROTOCOL) == first
    (plugin / "method.py").write_text(source + "\nANSWER = 42\n")
    assert registry.code_digest(str(plugin), PROTOCOL) != first


def test_a_block_counts_only_for_those_who_import_it(plugin: Path) -> None:
    without = registry.code_digest(str(plugin), PROTOCOL)
    (plugin / "method.py").write_text("from methods.blocks.ema import Ema\n" + (plugin / "method.py").read_text())
    with_block = registry.code_digest(str(plugin), PROTOCOL)
    assert without != with_block
    assert registry.code_digest("floor:noise", PROTOCOL) != without


def test_the_place_of_the_folder_does_not_count(plugin: Path) -> None:
    first = registry.code_digest(str(plugin), PROTOCOL)
    moved = plugin.rename(plugin.parent / "elsewhere")
    assert registry.code_digest(str(moved), PROTOCOL) == first


def test_broken_python_is_a_clear_error(plugin: Path) -> None:
    (plugin / "method.py").write_text("def f(:\n")
    with pytest.raises(ConfigError, match=r"method.py:1: is not valid Python"):
        registry.code_digest(str(plugin), PROTOCOL)
