"""``verify`` after a run: everything agrees, and every kind of damage is found and named."""

from __future__ import annotations

import csv
import re
import shutil
from pathlib import Path

import pytest

from harness import cli
from harness.store import Store


def test_a_run_is_verified_and_every_damage_is_found(
    plugin: Path, cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store, results = tmp_path / "runs", tmp_path / "results"
    words = ["suite=3d_aware", "tier=smoke", f"methods=[{plugin}]", "budget=32", "references=[floor:noise]"]
    assert cli.main(["run", *words, f"cache={cache}", f"store={store}", f"out={results}"]) == 0
    tables = results / "smoke" / "3d_aware"

    def verify(*more: str) -> tuple[int, str]:
        capsys.readouterr()
        code = cli.main(["verify", str(results), f"store={store}", f"cache={cache}", *more])
        shown = capsys.readouterr()
        return code, shown.out + shown.err

    kept = {path: path.read_bytes() for path in store.rglob("*") if path.is_file()}
    code, shown = verify()
    assert code == 0, shown
    assert "tiny_vae seed 0: agrees" in shown
    assert "floor:noise: agrees" in shown
    assert {path: path.read_bytes() for path in store.rglob("*") if path.is_file()} == kept

    page = (tables / "leaderboard.csv").read_text()
    (tables / "leaderboard.csv").write_text(re.sub(r"(\.\d)(\d)", lambda m: m[1] + str(9 - int(m[2])), page, count=1))
    code, shown = verify("limit=0")
    assert code == 3
    assert "differs: smoke/3d_aware: leaderboard.csv line 2, column " in shown
    (tables / "leaderboard.csv").write_text(page)

    method = next(result for result in Store(store).results() if result.cell.method == "tiny_vae")
    images = method.folder / "predictions" / "images.npy"
    content = bytearray(images.read_bytes())
    content[-1] ^= 1
    images.write_bytes(content)
    code, shown = verify("methods=[tiny_vae]")
    assert code == 3
    assert "predictions/images.npy is damaged" in shown

    shutil.rmtree(images.parent)
    code, shown = verify("methods=[tiny_vae]")
    assert code == 0, shown
    assert "no predictions in the store: 1 cells (row and seeds: tiny_vae 0)" in shown

    assert verify("suite=3d_awar")[0] == 2
    assert verify("methods=[tiny]")[0] == 2


def test_a_price_gives_money_per_result(
    plugin: Path, cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["suite=3d_aware", "tier=smoke", f"methods=[{plugin}]", "budget=32", "references=[]"]
    assert cli.main(["run", *words, f"cache={cache}", f"store={tmp_path / 'runs'}"]) == 0
    capsys.readouterr()
    shown_with = ["leaderboard", "suite=3d_aware", f"store={tmp_path / 'runs'}", f"out={tmp_path / 'priced'}"]
    assert cli.main([*shown_with, "price_per_hour=3600"]) == 0
    assert "money" in capsys.readouterr().out
    with (tmp_path / "priced" / "smoke" / "3d_aware" / "costs.csv").open(newline="") as file:
        (line,) = csv.DictReader(file)
    assert float(line["money_per_result"]) == float(line["cost_per_result"]) > 0
    plain = tmp_path / "runs" / "tables" / "smoke" / "3d_aware"
    for name in ("leaderboard.csv", "metrics.csv", "leaderboard.md"):
        assert (tmp_path / "priced" / "smoke" / "3d_aware" / name).read_bytes() == (plain / name).read_bytes()
