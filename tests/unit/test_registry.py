"""Cards, presets, suites and the import of methods by name or folder."""

from __future__ import annotations

import importlib.metadata
import sys
from pathlib import Path

import pytest

from harness import registry
from harness.cards import read_card, read_preset
from harness.suite_files import read_suite
from harness.types import ConfigError
from harness.yaml_files import read_yaml


def rewrite(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_every_card_of_the_checkout_is_valid() -> None:
    found = registry.scan()
    assert not found.broken, [str(error) for error in found.broken.values()]
    for entry in found.methods.values():
        keys = [set(entry.preset(tier)) for tier in entry.tiers]
        assert entry.tiers == ("smoke", "micro", "small", "paper")
        assert all(k == keys[0] for k in keys), f"the presets of {entry.name} differ in their keys"
        assert set(entry.card.switches) <= keys[0], f"{entry.name} has a switch that is no key of its presets"
        assert all(set(clash.values) <= keys[0] for clash in entry.card.clashes), entry.name
        for tier in entry.tiers:
            assert not any(clash.holds(entry.preset(tier)) for clash in entry.card.clashes), (entry.name, tier)


def test_every_suite_of_the_checkout_names_what_exists() -> None:
    for name in registry.suites():
        suite = registry.suite(name)
        assert suite.name == name
        assert suite.protocol in registry.protocols()
        assert set(suite.methods) <= set(registry.methods())


def test_numbers_and_words_of_yaml(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("a: 1e-4\nb: -2E5\nc: none\nd: null\ne: [1e-3, 2]\nf: 1e-4x\n")
    assert read_yaml(path) == {"a": 1e-4, "b": -2e5, "c": "none", "d": None, "e": [1e-3, 2], "f": "1e-4x"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lr: 1\nlr: 2\n", "twice"),
        ("a: [1, 2\n", "a.yaml"),
        ("- 1\n", "mapping"),
        ("a: !!python/object/apply:os.system [ls]\n", "may not name code"),
        ("off: 1\n", "quote it"),
        ("\x00", "a.yaml"),
    ],
)
def test_bad_yaml_is_one_clear_error(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_yaml(path)


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_yaml(path)


@pytest.mark.parametrize("field", ["name", "title", "entry", "capabilities", "data"])
def test_a_missing_field_is_named_with_file_and_remedy(plugin: Path, field: str) -> None:
    card = plugin / "card.yaml"
    card.write_text("".join(line for line in card.read_text().splitlines(True) if not line.startswith(f"{field}:")))
    with pytest.raises(ConfigError) as caught:
        read_card(plugin)
    assert repr(field) in caught.value.what
    assert caught.value.where == str(card)
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("title:", "tilte:", "unknown field 'tilte'.*Did you mean title"),
        ("entry: method:TinyVAE", "entry: os:system", "no os.py inside the folder"),
        ("entry: method:TinyVAE", "entry: ../method:TinyVAE", "module:attribute"),
        ("entry: method:TinyVAE", "entry: harness.types:Cell", "module:attribute"),
        ("entry: method:TinyVAE", "entry: metod:TinyVAE", "Did you mean method"),
        ("name: tiny_vae", "name: suite", "cannot be a method's name"),
        ("name: tiny_vae", "name: Tiny-VAE", "cannot be a method's name"),
        ("capabilities: [generates]", "capabilities: generates", "list of names"),
        ("fields: [image]", "field: [image]", "unknown field 'field'.*fields"),
        ("switches: [beta]", "switches: beta", "list of preset keys"),
        ("switches: [beta]", "controls_pose: sometimes", "true or false"),
        ("switches: [beta]", "clashes: [{beta: 1}]", "because"),
        ("switches: [beta]", "clashes: beta", "because"),
    ],
)
def test_a_wrong_field_is_named(plugin: Path, old: str, new: str, message: str) -> None:
    rewrite(plugin / "card.yaml", old, new)
    with pytest.raises(ConfigError, match=f"(?s)card.yaml.*{message}"):
        read_card(plugin)


def test_an_entry_cannot_leave_its_folder_by_a_link(plugin: Path) -> None:
    outside = plugin.parent / "outside.py"
    outside.write_text("class TinyVAE: ...\n")
    (plugin / "linked.py").symlink_to(outside)
    rewrite(plugin / "card.yaml", "method:TinyVAE", "linked:TinyVAE")
    with pytest.raises(ConfigError, match="inside the folder"):
        read_card(plugin)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("batch_size: 0", "batch_size"),
        ("width: {a: 1}", "flat"),
        ("_target_: os.system", "names code"),
        ("act: torch.nn.ReLU", "names code"),
        ("act: ${oc.env:HOME}", "names code"),
    ],
)
def test_bad_presets(plugin: Path, line: str, message: str) -> None:
    preset = plugin / "smoke.yaml"
    key = line.partition(":")[0]
    kept = [text for text in preset.read_text().splitlines() if not text.startswith(f"{key}:")]
    preset.write_text("\n".join([*kept, line]))
    with pytest.raises(ConfigError, match=message) as caught:
        read_preset(plugin, "smoke")
    assert str(preset) in caught.value.where


def test_a_missing_tier_names_those_there(plugin: Path) -> None:
    with pytest.raises(ConfigError, match="tier=smoke"):
        read_preset(plugin, "paper")


def test_a_folder_with_fewer_presets_lends_the_smaller_one(plugin: Path) -> None:
    entry = registry.find(str(plugin))
    assert entry.preset("micro") == entry.preset("smoke")
    (plugin / "small.yaml").write_text((plugin / "smoke.yaml").read_text().replace("width: 32", "width: 64"))
    assert [entry.preset_tier(tier) for tier in ("smoke", "micro", "small", "paper")] == [
        "smoke",
        "smoke",
        "small",
        "small",
    ]
    assert entry.preset("paper")["width"] == 64
    (plugin / "smoke.yaml").unlink()
    with pytest.raises(ConfigError, match="no preset for tier 'micro'"):
        entry.preset("micro")


def test_an_overlay_changes_the_keys_of_its_setting_only(plugin: Path) -> None:
    entry = registry.find(str(plugin))
    (plugin / "smoke.ssl.yaml").write_text("width: 64\nseconds_per_kimg: 3\n")
    assert entry.overlays == (("smoke", "ssl"),)
    assert entry.preset("smoke", "ssl") == {**entry.preset("smoke"), "width": 64}
    assert entry.preset("smoke", "uda") == entry.preset("smoke")
    assert entry.seconds_per_kimg("smoke", "ssl") == 3
    assert entry.tiers == ("smoke",)
    (plugin / "smoke.ssl.yaml").write_text("widht: 64\n")
    with pytest.raises(ConfigError, match="Did you mean width"):
        entry.preset("smoke", "ssl")


def test_a_declared_cost_is_no_part_of_the_configuration(plugin: Path) -> None:
    with (plugin / "smoke.yaml").open("a") as file:
        file.write("seconds_per_kimg: 2.5\n")
    preset, cost = read_preset(plugin, "smoke")
    assert "seconds_per_kimg" not in preset
    assert cost == 2.5


def test_names_come_from_cards_and_errors_offer_the_nearest() -> None:
    with pytest.raises(ConfigError, match="Did you mean hologan"):
        registry.find("hologn")
    with pytest.raises(ConfigError, match="Did you mean 3d_aware"):
        registry.suite("3d_awar")
    with pytest.raises(ConfigError, match="Did you mean generation_3d"):
        registry.protocol("generation_2d")
    with pytest.raises(ConfigError, match="no such method folder"):
        registry.find("no/such/folder")


def test_scanning_imports_no_method() -> None:
    registry.scan.cache_clear()
    for name in [n for n in sys.modules if n.startswith("methods.hologan")]:
        del sys.modules[name]
    assert "hologan" in registry.methods()
    assert not [n for n in sys.modules if n.startswith("methods.hologan")]


def test_a_folder_outside_is_loaded_with_its_relative_imports(plugin: Path) -> None:
    rewrite(plugin / "method.py", "from harness.types import", "from .words import GREETING\nfrom harness.types import")
    (plugin / "words.py").write_text("GREETING = 'hello'\n")
    before = list(sys.path)
    loaded = registry.load(str(plugin))
    assert loaded.__name__ == "TinyVAE"
    assert sys.modules[loaded.__module__].GREETING == "hello"
    assert sys.path == before
    assert registry.load(str(plugin)) is loaded


def test_a_registered_method_by_its_path_is_the_registered_one() -> None:
    entry = registry.methods()["hologan"]
    assert registry.find(str(entry.folder)) is entry
    assert registry.load(str(entry.folder)) is registry.load("hologan")


def test_a_method_that_cannot_be_imported(plugin: Path) -> None:
    rewrite(plugin / "method.py", "import torch\n", "import torhc\n")
    with pytest.raises(ConfigError, match=r"cannot be imported: ModuleNotFoundError.*torhc"):
        registry.load(str(plugin))


def test_an_entry_without_its_class(plugin: Path) -> None:
    rewrite(plugin / "card.yaml", "method:TinyVAE", "method:TinyVEA")
    with pytest.raises(ConfigError, match=r"no class 'TinyVEA'.*Did you mean TinyVAE"):
        registry.load(str(plugin))


def test_an_installed_plugin_is_found_by_its_entry_point(plugin: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (plugin / "__init__.py").write_text("raise RuntimeError('a scan imports nothing')\n")
    point = importlib.metadata.EntryPoint("tiny", "tiny_vae", "parallax.methods")
    missing = importlib.metadata.EntryPoint("gone", "no_such_package_at_all", "parallax.methods")
    monkeypatch.syspath_prepend(str(plugin.parent))
    monkeypatch.setattr(registry, "entry_points", lambda group: [point, missing])
    registry.scan.cache_clear()
    assert registry.methods()["tiny_vae"].folder == plugin.resolve()
    assert "gone" in registry.scan().broken
    (plugin / "__init__.py").write_text("")
    assert registry.load("tiny_vae").__module__ == "tiny_vae.method"


def test_one_broken_card_hides_no_other_method(plugin: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = plugin.parent / "root"
    (root / "methods").mkdir(parents=True)
    plugin.rename(root / "methods" / "tiny_vae")
    (root / "methods" / "wrong").mkdir()
    (root / "methods" / "wrong" / "card.yaml").write_text("name: wrong\n")
    monkeypatch.setattr(registry, "ROOT", root)
    registry.scan.cache_clear()
    assert set(registry.methods()) == {"tiny_vae"}
    with pytest.raises(ConfigError, match="'title' is missing"):
        registry.find("wrong")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("protocol:", "protocl:", "unknown field 'protocl'"),
        ("micro: {quick: 24000", "mikro: {quick: 24000", "unknown tier 'mikro'"),
        ("{quick: 256", "{quick: none", "positive number of images"),
        ("seeds: 1", "seeds: 0", "positive whole number"),
        ("seeds: 1", "precision: fp8", "unknown precision 'fp8'"),
    ],
)
def test_bad_suites(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(SUITE)
    rewrite(path, old, new)
    with pytest.raises(ConfigError, match=message) as caught:
        read_suite(path)
    assert "mine.yaml" in caught.value.where


def test_a_suite_of_ones_own_is_read_by_path(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(SUITE)
    assert registry.suite(str(path)).name == "mine"
    rewrite(path, "generation_3d", "generation_4d")
    with pytest.raises(ConfigError, match=r"mine.yaml: unknown protocol 'generation_4d'. Did you mean generation_3d"):
        registry.suite(str(path))


SUITE = """
name: mine
title: Mine
protocol: generation_3d
data: {name: objects/head}
methods: [hologan]
budget:
  smoke: {quick: 256}
  micro: {quick: 24000}
seeds: 1
"""
