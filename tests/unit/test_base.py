"""Methods that plug into others: presets one over the other, digests of both, and clear words where it cannot be."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import registry, values
from harness.registry import MethodEntry
from harness.types import Budget, Cell, ConfigError, DataSpec

CARD = """name: {name}
title: A method for this test
entry: method:Plain
capabilities: [{capabilities}]
data: {{fields: [image]}}
{more}
"""
METHOD = "class Plain:\n    stages = ()\n    number = {value}\n"


def write(folder: Path, name: str, preset: str, *, capabilities: str = "generates", more: str = "") -> Path:
    folder.mkdir(parents=True)
    (folder / "card.yaml").write_text(CARD.format(name=name, capabilities=capabilities, more=more))
    (folder / "method.py").write_text(METHOD.format(value=repr(name)))
    (folder / "smoke.yaml").write_text(preset)
    return folder


@pytest.fixture
def plug(tmp_path: Path) -> Iterator[MethodEntry]:
    """A method of outside the checkout over one of two hosts beside it, a third of which renders no field."""
    hosts = {"wide": "batch_size: 4\nwidth: 8\n", "deep": "batch_size: 2\ndepth: 3\n"}
    for name, preset in hosts.items():
        write(tmp_path / name, name, preset, capabilities="generates, radiance_field")
    write(tmp_path / "flat", "flat", "batch_size: 4\n")
    write(tmp_path / "plug", "plug", f"base: {tmp_path / 'wide'}\nweight: 0.5\n", more="base: radiance_field")
    yield registry.find(str(tmp_path / "plug"))
    registry.scan.cache_clear()


def host(plug: MethodEntry, name: str) -> str:
    return str(plug.folder.parent / name)


def test_the_preset_of_the_base_lies_below(plug: MethodEntry) -> None:
    assert plug.preset("smoke") == {"batch_size": 4, "width": 8, "weight": 0.5, "base": host(plug, "wide")}
    assert plug.preset("smoke", base=host(plug, "deep"))["depth"] == 3


def test_a_base_without_the_capability_is_refused(plug: MethodEntry) -> None:
    with pytest.raises(ConfigError, match="flat has no radiance field") as caught:
        plug.preset("smoke", base=host(plug, "flat"))
    assert "pigan" in str(caught.value)
    with pytest.raises(ConfigError, match=r"unknown base 'pigun'.*pigan"):
        plug.preset("smoke", base="pigun")
    for name in ("hologan", "geod"):
        with pytest.raises(ConfigError, match=f"{name} has no radiance field of its own"):
            plug.preset("smoke", base=name)


def test_a_key_of_both_is_an_error(plug: MethodEntry) -> None:
    (plug.folder / "smoke.yaml").write_text(f"base: {host(plug, 'wide')}\nwidth: 9\n")
    with pytest.raises(ConfigError, match="width: also a key of its base"):
        plug.preset("smoke")


@pytest.mark.parametrize("preset", ["weight: 1\n", "base: pigan\nbatch_size: 3\n"])
def test_the_batch_size_is_that_of_the_base(plug: MethodEntry, preset: str) -> None:
    (plug.folder / "smoke.yaml").write_text(preset)
    with pytest.raises(ConfigError, match="whose batch_size is the one"):
        plug.preset("smoke")


def test_a_sweep_over_bases_has_a_preset_each(plug: MethodEntry) -> None:
    given = {"plug.base": [host(plug, "wide"), host(plug, "deep")], "plug.weight": [0.5, 1.0]}

    def preset_over(base: str) -> dict[str, object]:
        return plug.preset("smoke", base=base)

    found = values.variants(plug, given, preset_over)
    assert [sorted(variant.overrides) for variant in found] == [[], ["weight"], ["base"], ["base", "weight"]]
    assert [variant.config.get("depth") for variant in found] == [None, None, 3, 3]
    with pytest.raises(ConfigError, match=r"plug\.width"):
        values.variants(plug, {**given, "plug.width": [1]}, preset_over)


def test_the_digest_follows_the_base_that_is_used(plug: MethodEntry) -> None:
    def digest(base: str) -> str:
        return registry.code_digest(str(plug.folder), "", "objects", host(plug, base))

    before = digest("wide"), digest("deep")
    assert before[0] != before[1]
    shutil.copy(plug.folder / "method.py", plug.folder.parent / "deep" / "method.py")
    assert digest("wide") == before[0]
    assert digest("deep") != before[1]


def test_a_cell_knows_its_base(plug: MethodEntry) -> None:
    def cell(**config: object) -> Cell:
        spec = DataSpec("objects/head", 32, {})
        return Cell("s", "p", "plug", "smoke", 0, Budget("b", 1), spec, config=config, source=str(plug.folder))

    found = registry.base_of(cell(base=host(plug, "deep")))
    assert found is not None
    assert found.name == "deep"
    assert registry.base_of(cell()) is None
    assert registry.load(str(found.folder)).__name__ == "Plain"
