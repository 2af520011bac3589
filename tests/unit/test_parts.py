"""Parts of a suite: which methods, words and reference rows go where, and one plan of them all."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from textwrap import dedent

import pytest

from harness import config, registry
from harness.running import plan
from harness.suite_files import Suite, read_suite
from harness.types import ConfigError

SUITE = "suite=halves"


@pytest.fixture
def suite(tmp_path: Path, plugin: Path, monkeypatch: pytest.MonkeyPatch) -> Suite:
    """The plug-in alone; in a part beside another method on other data; and a part of another method on the same."""
    path = tmp_path / "halves.yaml"
    path.write_text(
        dedent(f"""
        name: halves
        title: Two halves
        protocol: generation_3d
        data: {{name: objects/head, options: {{prior: wide60}}}}
        methods: ["{plugin}"]
        references: [floor:noise, floor:mean_image]
        tier: smoke
        budget: {{smoke: {{quick: 64}}}}
        parts:
          cars:
            data: {{name: objects/car, options: {{prior: ring}}}}
            methods: ["{plugin}", dcgan]
            references: [floor:noise]
            budget: {{smoke: {{quick: 32}}}}
          again:
            methods: [hologan]
        """)
    )
    made = read_suite(path)
    monkeypatch.setattr(registry, "suite", lambda name: made)
    return made


def names(*words: str) -> dict[str, list[str]]:
    return {made.suite.part: [choice.entry.name for choice in made.choices] for made in config.parts([SUITE, *words])}


def test_every_part_runs_the_methods_it_lists(suite: Suite) -> None:
    assert names() == {"main": ["tiny_vae"], "cars": ["tiny_vae", "dcgan"], "again": ["hologan"]}


def test_methods_go_where_they_are_listed_and_strangers_to_the_first(suite: Suite) -> None:
    assert names("methods=[dcgan,hologan]") == {"cars": ["dcgan"], "again": ["hologan"]}
    assert names("methods=[pigan,dcgan]") == {"main": ["pigan"], "cars": ["dcgan"]}
    assert names("part=cars", "methods=[pigan]") == {"cars": ["pigan"]}


def test_strangers_go_to_the_first_part_with_the_data(suite: Suite, monkeypatch: pytest.MonkeyPatch) -> None:
    more = replace(suite, parts={**suite.parts, "more": {"data": {"name": "objects/car"}, "methods": ["hologan"]}})
    monkeypatch.setattr(registry, "suite", lambda name: more)
    assert names("data=objects/car", "methods=[pigan]") == {"cars": ["pigan"]}
    assert names("data=objects/car", "methods=[pigan,hologan]") == {"cars": ["pigan"], "more": ["hologan"]}


def test_words_about_data_leave_the_parts_with_those_data(suite: Suite) -> None:
    assert names("data=objects/car") == {"cars": ["tiny_vae", "dcgan"]}
    assert names("data=objects/chair", "methods=[dcgan]") == {"main": ["dcgan"]}
    assert names("data.options.background=random") == {"main": ["tiny_vae"], "again": ["hologan"]}


def test_a_part_has_its_own_data_budget_and_references(suite: Suite) -> None:
    main, cars, again = config.parts([SUITE, "references=[floor:noise,floor:mean_image]"])
    assert (main.data.name, cars.data.name, again.data.name) == ("objects/head", "objects/car", "objects/head")
    assert (main.budget.images, cars.budget.images, again.budget.images) == (64, 32, 64)
    assert (main.references, cars.references) == (("floor:noise", "floor:mean_image"), ("floor:noise",))


def test_keys_of_a_method_reach_only_its_parts(suite: Suite) -> None:
    _, cars, _ = config.parts([SUITE, "dcgan.batch_size=4"])
    assert [variant.overrides for choice in cars.choices for variant in choice.variants] == [{}, {"batch_size": 4}]
    with pytest.raises(ConfigError, match="batch_sice"):
        config.parts([SUITE, "dcgan.batch_sice=4"])
    with pytest.raises(ConfigError, match="pigan is not among"):
        config.parts([SUITE, "pigan.batch_size=4"])


def test_what_no_part_knows_is_an_error(suite: Suite) -> None:
    with pytest.raises(ConfigError, match=r"part 'car'.*(?s:cars)"):
        config.parts([SUITE, "part=car"])
    with pytest.raises(ConfigError, match="floor:nois"):
        config.parts([SUITE, "references=[floor:nois]"])


def test_a_joined_plan_holds_shared_reference_rows_once(suite: Suite) -> None:
    plans = [plan.build(made) for made in config.parts([SUITE])]
    joined = plan.join(plans)
    assert sum(len(one.cells) for one in plans) == len(joined.cells) + 2  # "again" shares both rows of the first part
    assert len({cell.key for cell in joined.cells}) == len(joined.cells)
    assert joined.unknown == sum(one.unknown for one in plans)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("parts: {main: {methods: [dcgan]}}", "cannot be the name"),
        ("parts: {cars: {}}", "'methods' is missing"),
        ("parts: {cars: {methods: [dcgan], protocl: x}}", "protocl"),
        ("parts: {cars: {methods: [dcgan], budget: {huge: {quick: 1}}}}", "huge"),
    ],
)
def test_a_malformed_part_is_named(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "halves.yaml"
    head = "name: halves\ntitle: T\nprotocol: p\ndata: {name: objects/head}\nmethods: [dcgan]\nbudget: {}\n"
    path.write_text(head + text)
    with pytest.raises(ConfigError, match=said):
        read_suite(path)
