"""Whole commands at smoke, through the command line: from words to tables."""

from __future__ import annotations

import csv
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness import cli
from harness.store import Store
from harness.tables import leaderboard

SUITE = "suite=3d_aware"


def run(cache: Path, store: Path, *words: str) -> int:
    return cli.main(["run", SUITE, "tier=smoke", f"cache={cache}", f"store={store}", *words])


def table(store: Path, name: str = "leaderboard.csv") -> Path:
    return store / "tables" / "smoke" / "3d_aware" / name


def rows(store: Path) -> dict[str, dict[str, str]]:
    with table(store).open(newline="") as file:
        return {line["method"]: line for line in csv.DictReader(file)}


def as_a_new_command() -> None:
    """Forget what this process remembers of the code."""
    leaderboard._code.cache_clear()
    for name in [name for name in sys.modules if name.startswith("parallax_folder_")]:
        del sys.modules[name]


def content(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_adding_a_method_is_adding_one_folder(
    plugin: Path, cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = tmp_path / "runs"
    words = [f"methods=[dcgan,{plugin}]", "tiny_vae.beta=0.1,1.0", "seeds=2", "budget=64"]
    assert run(cache, store, *words) == 0
    shown = capsys.readouterr().out
    assert any(line.startswith("10 of 10 cells to run, expected ") for line in shown.splitlines())
    assert str(table(store)) in shown
    found = rows(store)
    assert set(found) == {
        *("floor:noise", "floor:mean_image", "floor:flat_card", "oracle:held_out"),
        *("dcgan", "tiny_vae", "tiny_vae[beta=1.0]"),
    }
    assert {found[name]["n_seeds"] for name in ("dcgan", "tiny_vae", "tiny_vae[beta=1.0]")} == {"2"}
    assert {found[name]["role"] for name in found} == {"floor", "method", "oracle"}
    assert any(column.startswith("fid[proc-v1") for column in found["dcgan"])

    before = content(store)
    assert run(cache, store, *words) == 0
    assert "nothing to do: all 10 cells were finished before" in capsys.readouterr().out
    assert content(store) == before

    assert cli.main(["leaderboard", SUITE, f"store={store}", f"out={tmp_path / 'tables'}"]) == 0
    assert content(tmp_path / "tables") == content(store / "tables")


def test_processes_give_the_same_bytes_as_one_process(plugin: Path, cache: Path, tmp_path: Path) -> None:
    words = [f"methods=[{plugin}]", "seeds=2", "budget=64", "references=[floor:noise]"]
    assert run(cache, tmp_path / "one", *words) == 0
    assert run(cache, tmp_path / "two", *words, "executor=processes", "workers=2") == 0
    for name in ("leaderboard.csv", "metrics.csv", "leaderboard.md"):
        assert table(tmp_path / "one", name).read_bytes() == table(tmp_path / "two", name).read_bytes()


def test_a_failed_cell_is_code_3_and_the_others_stay(
    plugin: Path, cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = (plugin / "method.py").read_text()
    bad = source.replace(
        "        self.optimiser.zero_grad()", "        loss = loss / (step < 2)\n        self.optimiser.zero_grad()"
    )
    assert bad != source
    (plugin / "method.py").write_text(bad)
    store = tmp_path / "runs"
    assert run(cache, store, f"methods=[{plugin}]", "references=[floor:noise]", "budget=64") == 3
    shown = capsys.readouterr().out
    assert "failed: tiny_vae seed 0" in shown
    assert rows(store)["floor:noise"]["status"] == "done"
    assert rows(store)["tiny_vae"]["status"] == "1 failed"

    failed = next(result for result in Store(store).results() if result.status == "failed")
    assert "python -m harness replay" in failed.reason
    assert cli.main(["replay", str(failed.folder / "failure")]) == 0
    assert cli.main(["replay", failed.key[:10], f"store={store}"]) == 0
    assert "step 2" in capsys.readouterr().out

    (plugin / "method.py").write_text(source)
    as_a_new_command()
    assert run(cache, store, f"methods=[{plugin}]", "references=[floor:noise]", "budget=64") == 0
    assert rows(store)["tiny_vae"]["status"] == "done"


def test_a_method_without_the_capability_is_skipped_with_a_reason(
    plugin: Path, cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = (plugin / "method.py").read_text()
    (plugin / "method.py").write_text(source.replace("def latents(", "def codes("))
    assert run(cache, tmp_path / "runs", f"methods=[{plugin}]", "references=[]", "budget=64") == 0
    assert "skipped: tiny_vae seed 0" in capsys.readouterr().out


def test_code_that_changed_makes_results_stale_and_can_be_rerun(
    plugin: Path, cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [f"methods=[{plugin}]", "references=[]", "budget=32"]
    assert run(cache, tmp_path / "runs", *words) == 0
    (plugin / "method.py").write_text((plugin / "method.py").read_text() + "\nCHANGED = True\n")
    capsys.readouterr()
    assert run(cache, tmp_path / "runs", *words, "--dry-run") == 0
    assert "stale" in capsys.readouterr().out
    assert run(cache, tmp_path / "runs", *words) == 0
    assert "nothing to do" in capsys.readouterr().out
    assert run(cache, tmp_path / "runs", *words, "rerun=stale") == 0
    assert "[1/1] tiny_vae seed 0: done in" in capsys.readouterr().out


def test_an_interrupted_run_ends_with_130_and_goes_on(plugin: Path, cache: Path, tmp_path: Path) -> None:
    store = tmp_path / "runs"
    words = [SUITE, "tier=smoke", f"methods=[{plugin}]", "references=[]", f"cache={cache}", f"store={store}"]
    command = [sys.executable, "-m", "harness", "run", *words, "budget=100000000"]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ)
    deadline = time.monotonic() + 120
    while not any(store.glob("*/train.jsonl")) and child.poll() is None and time.monotonic() < deadline:
        time.sleep(0.1)
    child.send_signal(signal.SIGINT)
    _, errors = child.communicate(timeout=60)
    assert child.returncode == 130, errors
    assert "Traceback" not in errors
    begun = [key for key in Store(store).keys() if Store(store).status(key) == "partial"]  # noqa: SIM118
    assert len(begun) == 1
    assert (Store(store).folder(begun[0]) / "checkpoint.safetensors").is_file()


def test_score_generation_on_two_folders(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    generator = np.random.default_rng(0)
    for name, brightness in (("real", 90), ("fake", 120)):
        (tmp_path / name).mkdir()
        for k in range(12):
            pixels = generator.integers(0, brightness, (16, 16, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / name / f"{k:02d}.png")
    words = [f"real={tmp_path / 'real'}", f"fake={tmp_path / 'fake'}", "features=pixels"]
    assert cli.main(["score", "generation", *words]) == 0
    shown = capsys.readouterr().out
    assert "fid[pixels" in shown
    (tmp_path / "empty").mkdir()
    assert cli.main(["score", "generation", words[0], f"fake={tmp_path / 'empty'}", "features=pixels"]) == 2
    assert "empty" in capsys.readouterr().err


def test_data_is_built_verified_and_previewed(cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = tmp_path / "cache"
    shutil.copytree(cache, own, ignore=shutil.ignore_patterns("judges"))
    words = [SUITE, "tier=smoke", f"cache={own}"]
    assert cli.main(["data", "build", *words]) == 0
    assert cli.main(["data", "verify", *words]) == 0
    assert " 0 problems" in capsys.readouterr().out
    shard = max((p for p in (own / "objects").rglob("*.npy") if "train-" in str(p)), key=lambda p: p.stat().st_size)
    damaged = bytearray(shard.read_bytes())
    damaged[-1] ^= 1
    shard.write_bytes(damaged)
    assert cli.main(["data", "verify", *words]) == 2
    assert shard.name in capsys.readouterr().out
    assert cli.main(["data", "preview", *words, f"out={tmp_path / 'sheet.png'}"]) == 0
    assert Image.open(tmp_path / "sheet.png").width > 100
