"""``python -m harness report`` on a small store: one page, also of a run that was interrupted and half failed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from harness.store import Store, StoredResult
from harness.store_files import to_number
from tests.unit.report_bench import Page, changed, endings, heads


def shelve(store: Store, made: StoredResult) -> None:
    """Write a made-up result as a run would have left it."""
    store.record(made.cell)
    if made.status != "done":
        if made.status in ("failed", "skipped"):
            store.finish(made.key, made.status, made.reason)
        return
    store.write(made.key, "env.json", made.env)
    store.write(made.key, "cost.json", made.cost)
    for name, path in made.pictures.items():
        store.write(made.key, f"pictures/{name}.png", path.read_bytes())
    content = {
        "metrics": {name: to_number(value) for name, value in made.metrics.items()},
        "notes": dict(made.notes),
        "facts": dict(made.facts),
        "per_sample": {},
        "pictures": {name: f"pictures/{name}.png" for name in made.pictures},
    }
    store.write(made.key, "result.json", content)
    store.stamp(made.key, "score", ("result.json",), {}, made.code)
    store.finish(made.key, "done")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Finished rows beside cells that failed, were skipped or interrupted, damaged results, an unreadable folder."""
    made = Store(tmp_path_factory.mktemp("runs"))
    for one in [*heads(tmp_path_factory.mktemp("made")), *endings()]:
        shelve(made, changed(one, cost=one.cost if one.env else {"fit_seconds": 1.0}))
    damaged = next(key for key in made.keys() if made.status(key) == "done" and made.read(key).cell.seed == 4)  # noqa: SIM118
    (made.folder(damaged) / "result.json").write_text("{", encoding="utf-8")
    (made.root / "0000").mkdir()
    (made.root / "0000" / "cell.json").write_text("[]", encoding="utf-8")
    return made


def call(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "harness", "report", *words], capture_output=True, text=True, check=False
    )


def test_a_page_of_a_store_that_was_interrupted_and_half_failed(store: Store, tmp_path: Path) -> None:
    out = tmp_path / "new" / "page.html"
    done = call(f"store={store.root}", f"out={out}")
    assert done.returncode == 0, done.stderr
    assert str(out) in done.stdout
    page = Page(out.read_text(encoding="utf-8"))
    for words in ("loss_d is NaN at step 7", "weights are not here", "its SHA-256 differs", "begun and interrupted"):
        assert words in page.text
    assert "1 folders of the store cannot be read" in page.text
    assert "17 done" in done.stdout
    assert len(page.attributes["img", "src"]) > 5


def test_requests_that_cannot_be_met(tmp_path: Path) -> None:
    assert call("suit=3d_aware").returncode == 2
    none = call(f"store={tmp_path}", f"out={tmp_path / 'page.html'}")
    assert none.returncode == 2
    assert none.stderr.startswith("error: ")
    assert "Run a suite first" in none.stderr
    assert not list(tmp_path.iterdir())
