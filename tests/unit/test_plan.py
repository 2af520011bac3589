"""Plans: order, keys, estimates and what is done."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness import config
from harness.running import plan
from harness.types import Cell, ConfigError


def planned(plugin: Path, *words: str) -> tuple[Cell, ...]:
    return plan.cells(config.parse(["suite=3d_aware", "tier=smoke", f"methods=[{plugin}]", *words]))


def copy(plugin: Path, name: str, extra: str = "") -> Path:
    folder = plugin.parent / name
    folder.mkdir()
    for path in plugin.iterdir():
        folder.joinpath(path.name).write_bytes(path.read_bytes())
    card = (plugin / "card.yaml").read_text().replace("name: tiny_vae", f"name: {name}")
    (folder / "card.yaml").write_text(card + extra)
    return folder


def test_references_then_variants_times_seeds(plugin: Path) -> None:
    cells = planned(plugin, "seeds=2", "tiny_vae.beta=0.1,1.0")
    assert [(c.variant, c.seed) for c in cells] == [
        ("floor:noise", 0),
        ("floor:mean_image", 0),
        ("floor:flat_card", 0),
        ("oracle:held_out", 0),
        ("tiny_vae", 0),
        ("tiny_vae", 1),
        ("tiny_vae[beta=1.0]", 0),
        ("tiny_vae[beta=1.0]", 1),
    ]
    assert len({c.key for c in cells}) == len(cells)
    assert all(c.code for c in cells)
    assert cells[4].source == str(plugin.resolve())


def test_equal_words_give_equal_keys_and_every_choice_counts(plugin: Path) -> None:
    def key(*words: str) -> str:
        return planned(plugin, "references=[]", *words)[0].key

    base = key()
    assert key("tiny_vae.beta=0.1", "store=/elsewhere", "device=cuda", "workers=2") == base
    others = [
        key(*words)
        for words in (
            ["seeds=[1]"],
            ["budget=64"],
            ["tiny_vae.beta=0.2"],
            ["data.options.prior=ring"],
            ["settings.n=16"],
            ["precision=fp32"],
        )
    ]
    assert len({base, *others}) == 1 + len(others)


def test_upstream_cells_come_first_and_are_part_of_the_key(plugin: Path) -> None:
    upper = copy(plugin, "upper", f"needs: {{start: {plugin}}}\n")
    cells = plan.cells(config.parse(["suite=3d_aware", "tier=smoke", f"methods=[{upper}]", "seeds=2", "references=[]"]))
    assert [(c.method, c.seed) for c in cells] == [("tiny_vae", 0), ("tiny_vae", 1), ("upper", 0), ("upper", 1)]
    assert [dict(c.upstream) for c in cells[2:]] == [{"start": cells[0].key}, {"start": cells[1].key}]
    words = ["suite=3d_aware", "tier=smoke", f"methods=[{upper}]", "references=[]"]
    changed = plan.cells(config.parse([*words, "tiny_vae.beta=0.3"]))
    assert changed[-1].key != cells[2].key
    with pytest.raises(ConfigError, match="2 variants are swept"):
        plan.cells(config.parse([*words, "tiny_vae.beta=0.3,0.4"]))


def test_estimates_come_from_presets_and_better_from_earlier_runs(plugin: Path) -> None:
    words = ["suite=3d_aware", "tier=smoke", f"methods=[{plugin}]", "budget=2000", "references=[]"]
    assert plan.build(config.parse(words)).unknown == 1
    with (plugin / "smoke.yaml").open("a") as file:
        file.write("seconds_per_kimg: 3\n")
    made = config.parse(words)
    assert plan.build(made).expected_seconds == 6.0
    rates = plan.measured_rates([("tiny_vae", "smoke", 5.0, 1000), ("tiny_vae", "smoke", 0.0, 1000)])
    assert plan.build(made, measured=rates).expected_seconds == 10.0


def test_references_are_shared_by_budgets_and_cost_what_they_cost_before(plugin: Path) -> None:
    words = ["suite=3d_aware", "tier=smoke", f"methods=[{plugin}]", "references=[floor:noise]"]
    keys = {
        plan.cells(config.parse([*words, *more]))[0].key
        for more in ([], ["budget=64"], ["seeds=[5]"], ["precision=fp32"], ["tiny_vae.beta=0.5"])
    }
    assert len(keys) == 1
    rates = plan.measured_rates([("floor:noise", "smoke", 7.0, 0)])
    assert plan.build(config.parse(words), measured=rates).expected_seconds == 7.0


def test_what_is_done_is_not_waiting(plugin: Path) -> None:
    made = config.parse(["suite=3d_aware", "tier=smoke", f"methods=[{plugin}]", "seeds=3", "references=[]"])
    states = {0: "done", 1: "stale", 2: "failed"}
    whole = plan.build(made, state=lambda cell: states[cell.seed])
    assert [cell.seed for cell in whole.waiting] == [2]
