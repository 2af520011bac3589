"""One cell from start to end: stages, cached results, damage, stale code, skips, failures, full disks."""

from __future__ import annotations

import errno
import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness import atomic
from harness.running import forensics
from harness.running.cell import run_cell
from harness.running.settings import Progress
from harness.store import Store
from harness.types import Cell, Outcome, Scores, StoreError
from tests.unit.tiny_cells import Tiny, TinyProtocol, TinySources, tiny_cell, tiny_settings

CELL = tiny_cell()


class Bench:
    """A store, its settings and sources, and what the observer saw."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.store, self.sources = folder, Store(folder / "runs"), TinySources()
        self.seen: list[Progress] = []

    def run(self, cell: Cell = CELL, **settings: Any) -> Outcome:
        options = tiny_settings(self.folder / "cache", **settings)
        return run_cell(cell, self.store, options, self.seen.append, sources=self.sources)

    def file(self, name: str, cell: Cell = CELL) -> Path:
        return self.store.folder(cell.key) / name

    def result(self, cell: Cell = CELL) -> bytes:
        return self.file("result.json", cell).read_bytes()

    def notes(self) -> str:
        return "\n".join(progress.message for progress in self.seen if progress.stage == "note")

    def stages(self) -> list[str]:
        """Stages entered since the last question."""
        entered = [p.stage for p in self.seen if p.stage in ("fit", "predict", "score") and not p.step]
        self.seen.clear()
        return entered


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_a_cell_leaves_everything_the_tables_need(bench: Bench) -> None:
    outcome = bench.run()
    assert (outcome.status, outcome.cached, outcome.label) == ("done", False, "tiny seed 0")
    assert bench.stages() == ["fit", "predict", "score"]
    [result] = bench.store.results()
    assert result.status == "done"
    assert result.facts["params"] == sum(p.numel() for p in _network().parameters())
    assert (result.facts["steps"], result.facts["precision"], result.facts["device"]) == (30, "fp32", "cpu")
    assert result.per_sample["mean[x1]"].mean() == result.metrics["mean[x1]"]
    assert result.per_sample["mean[x1]"].dtype == np.float64
    assert result.pictures["grid"].read_bytes().startswith(b"\x89PNG")
    assert np.isnan(result.metrics["none"])
    assert result.notes["none"] == "never defined"
    assert {"fit_seconds", "fit_cpu_seconds", "predict_seconds", "score_seconds"} <= set(result.cost)
    assert result.env["packages"]["torch"]
    assert "seconds" not in bench.result().decode()
    assert not list(bench.store.folder(CELL.key).rglob("*.tmp"))


def test_the_second_run_does_nothing(bench: Bench) -> None:
    bench.run()
    bench.sources.calls.clear()
    before = {path: path.stat().st_mtime_ns for path in bench.store.folder(CELL.key).rglob("*")}
    outcome = bench.run()
    assert (outcome.status, outcome.cached) == ("done", True)
    assert not bench.sources.calls
    assert {path: path.stat().st_mtime_ns for path in bench.store.folder(CELL.key).rglob("*")} == before


def test_equal_runs_give_equal_bytes(bench: Bench, tmp_path: Path) -> None:
    bench.run()
    twin = Bench(tmp_path / "twin")
    twin.run(checkpoint_seconds=1e9)
    for name in ("result.json", "checkpoint.safetensors", "predictions/images.npy", "pictures/grid.png", "cell.json"):
        assert bench.file(name).read_bytes() == twin.file(name).read_bytes(), name


def test_a_reference_row_is_not_trained(bench: Bench) -> None:
    cell = tiny_cell(method="floor:noise")
    assert bench.run(cell).status == "done"
    assert bench.stages() == ["predict", "score"]
    assert bench.run(cell).cached


# ------------------------------------------------------------------------------------------------------ damage
@pytest.mark.parametrize(
    ("name", "redone"),
    [
        ("result.json", ["score"]),
        ("pictures/grid.png", ["score"]),
        ("predictions/images.npy", ["predict"]),
        ("checkpoint.safetensors", ["fit"]),
        ("stages/score.json", ["score"]),
        ("stages/fit.json", ["fit"]),
        ("cell.json", []),
        ("status.json", []),
    ],
)
@pytest.mark.parametrize("how", ["flip", "remove", "empty"])
def test_only_the_damaged_stage_is_redone(bench: Bench, name: str, redone: list[str], how: str) -> None:
    bench.run()
    before, path = bench.result(), bench.file(name)
    if how == "flip":
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 0x55
        path.write_bytes(content)
    elif how == "remove":
        path.unlink()
    else:
        path.write_bytes(b"")
    bench.stages()
    outcome = bench.run()
    assert "redone" in bench.notes() or name == "status.json"
    assert (outcome.status, outcome.cached) == ("done", False)
    assert bench.stages() == redone
    assert bench.result() == before
    assert bench.run().cached
    assert next(bench.store.results()).status == "done"


def test_a_damaged_checkpoint_of_an_interrupted_run_starts_anew(bench: Bench, tmp_path: Path) -> None:
    twin = Bench(tmp_path / "twin")
    twin.run()
    _interrupt(bench, 15)
    path = bench.file("checkpoint.safetensors")
    path.write_bytes(path.read_bytes()[:-20])
    bench.run()
    assert "training starts anew" in bench.notes()
    assert bench.result() == twin.result()


def test_an_interrupted_run_resumes_to_the_same_bytes(bench: Bench, tmp_path: Path) -> None:
    twin = Bench(tmp_path / "twin")
    twin.run()
    _interrupt(bench, 15)
    assert bench.store.status(CELL.key) == "partial"
    steps: list[int] = []
    original = Tiny.train_step

    def counted(self: Tiny, batch: Any, step: int) -> Any:
        steps.append(step)
        return original(self, batch, step)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Tiny, "train_step", counted)
        assert bench.run().status == "done"
    assert steps[0] == 16
    assert bench.result() == twin.result()
    assert bench.file("checkpoint.safetensors").read_bytes() == twin.file("checkpoint.safetensors").read_bytes()


# ------------------------------------------------------------------------------------------------- older code
def test_an_older_result_stays_until_it_is_asked_for(bench: Bench) -> None:
    old, new = replace(CELL, code="a"), replace(CELL, code="b")
    bench.run(old)
    assert bench.run(new).cached
    assert next(bench.store.results()).stale("b")
    bench.stages()
    bench.sources.code = "2"
    assert not bench.run(new, rerun="stale").cached
    assert bench.stages() == ["fit", "predict", "score"]
    assert bench.run(new, rerun="stale").cached
    assert not next(bench.store.results()).stale("b")


def test_a_changed_protocol_costs_no_training(bench: Bench) -> None:
    bench.run(replace(CELL, code="a"))
    bench.stages()
    bench.run(replace(CELL, code="b"), rerun="stale")
    assert bench.stages() == ["predict", "score"]


def test_a_new_metric_scores_stored_predictions(bench: Bench) -> None:
    bench.run()
    bench.stages()
    bench.sources.code = "2"
    assert bench.run(replace(CELL, code="b"), rerun="score").status == "done"
    assert bench.stages() == ["score"]


def test_scoring_sees_arrays_as_their_files_hold_them(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, ...]] = []

    def predict(self: Any, *more: Any) -> dict[str, np.ndarray]:
        return {"images": np.broadcast_to(np.zeros((4, 4, 3), np.uint8), (8, 4, 4, 3))}

    def score(self: Any, predictions: Mapping[str, np.ndarray], *more: Any) -> Scores:
        seen.append(predictions["images"].strides)
        return Scores({"mean": 0.0})

    monkeypatch.setattr(TinyProtocol, "predict_reference", predict)
    monkeypatch.setattr(TinyProtocol, "score", score)
    for rerun in ("failed", "score"):
        bench.run(tiny_cell(method="floor:noise"), rerun=rerun)
    assert seen == [(48, 12, 3, 1)] * 2


def test_a_checkpoint_of_other_code_is_not_continued(bench: Bench) -> None:
    _interrupt(bench, 15)
    bench.sources.code = "2"
    bench.run()
    assert "made with another code" in bench.notes()


def test_a_checkpoint_with_another_layout_of_its_state_is_not_continued(bench: Bench) -> None:
    _interrupt(bench, 15)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("harness.running.stages.STATE_LAYOUT", "3")
        assert bench.run().status == "done"
    assert "made with another layout of its state" in bench.notes()


def test_a_checkpoint_of_another_precision_is_not_continued(bench: Bench) -> None:
    automatic = replace(CELL, precision="auto")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("harness.running.hardware.cpu_has_bf16", lambda: True)
        _interrupt(bench, 15, automatic)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("harness.running.hardware.cpu_has_bf16", lambda: False)
        assert bench.run(automatic).status == "done"
    assert "made with another precision" in bench.notes()
    assert bench.store.read(automatic.key).facts["precision"] == "fp32"


def test_predictions_over_the_cap_are_scored_and_not_kept(bench: Bench) -> None:
    outcome = bench.run(predictions_cap=10)
    assert outcome.status == "done"
    assert not bench.file("predictions").exists()
    assert bench.run(predictions_cap=10).cached


# ------------------------------------------------------------------------------------------ skips and failures
def test_a_missing_asset_is_a_skip_with_its_reason(bench: Bench) -> None:
    cell = tiny_cell(needs_weights=True)
    outcome = bench.run(cell)
    assert (outcome.status, outcome.reason) == ("skipped", "weights are not here. Put them there.")
    assert bench.store.read(cell.key).reason == outcome.reason
    bench.stages()
    assert bench.run(cell).status == "skipped"
    assert bench.stages() == ["score"], "what was finished stays"


def test_a_missing_capability_is_a_skip(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(Tiny, "sample")
    outcome = bench.run()
    assert outcome.status == "skipped"
    assert "asks for 'generates', but the method has no sample" in outcome.reason


def test_an_error_is_recorded_with_its_traceback_and_tried_again(bench: Bench) -> None:
    cell = tiny_cell(broken=True)
    outcome = bench.run(cell)
    assert (outcome.status, outcome.reason) == ("failed", "RuntimeError: the protocol is broken")
    assert "in score" in bench.file("traceback.txt", cell).read_text()
    assert bench.store.ending(cell.key)["stage"] == "score"
    assert bench.run(cell, rerun="never").cached
    bench.stages()
    assert not bench.run(cell).cached
    assert bench.stages() == ["score"]


def test_a_key_the_preset_lacks_is_a_recorded_failure(bench: Bench) -> None:
    cell = replace(CELL, config={"batch_size": 8})
    outcome = bench.run(cell)
    assert outcome.status == "failed"
    assert "'lr', which the preset lacks" in outcome.reason


def test_an_upstream_cell_hands_over_its_weights(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.run()
    given: list[Any] = []
    original = Tiny.__init__

    def noted(self: Tiny, config: Any, data: Any, context: Any) -> None:
        given.append(context.upstream)
        original(self, config, data, context)

    monkeypatch.setattr(Tiny, "__init__", noted)
    builder = replace(tiny_cell(seed=1), upstream={"generator": CELL.key})
    assert bench.run(builder).status == "done"
    assert set(given[0]["generator"]) == {"net", "optimiser", "second", "ema"}
    orphan = replace(tiny_cell(seed=1), upstream={"generator": "0" * 64})
    outcome = bench.run(orphan)
    assert (outcome.status, "absent" in outcome.reason) == ("skipped", True)


@pytest.mark.parametrize("after", [2, 4, 6, 9, 12, 15])
def test_a_full_disk_loses_nothing_that_was_finished(bench: Bench, tmp_path: Path, after: int) -> None:
    twin = Bench(tmp_path / "twin")
    twin.run()
    count = 0

    def sync(handle: int) -> None:
        nonlocal count
        count += 1
        if count > after:
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(atomic.os, "fsync", sync)
        outcome = bench.run()
    assert outcome.status == "failed"
    assert outcome.reason.startswith(f"<store>/{CELL.key}/")
    assert "the disk is full" in outcome.reason
    assert not list(bench.store.folder(CELL.key).rglob("*.tmp"))
    assert bench.run().status == "done"
    assert bench.result() == twin.result()


# ---------------------------------------------------------------------------------------------------- forensics
def test_nan_leaves_a_bundle_that_repeats_the_step(bench: Bench, tmp_path: Path) -> None:
    cell = tiny_cell(poison_step=17)
    outcome = bench.run(cell)
    assert outcome.status == "failed"
    assert bench.store.ending(cell.key)["exit_code"] == 3
    assert "loss loss is nan at step 17" in outcome.reason
    assert "aten.log" in outcome.reason
    assert "tiny_cells.py" in outcome.reason
    assert str(bench.folder) not in outcome.reason
    bundle = tmp_path / "sent elsewhere"
    shutil.copytree(bench.file("failure", cell), bundle)
    details = json.loads((bundle / "failure.json").read_text())
    assert (details["step"], details["device"]) == (17, "cpu")
    diagnosis = forensics.replay(bundle, lambda name: Tiny)
    assert (diagnosis.step, diagnosis.reproduced) == (17, True)
    assert diagnosis.first_nan is not None
    assert diagnosis.first_nan.operation.startswith("aten.log")
    assert not diagnosis.first_nan.backward
    assert "tiny_cells.py" in diagnosis.first_nan.line


@pytest.mark.parametrize("step", [9, 13, 29], ids=["between records", "before a checkpoint", "last"])
def test_a_step_that_spoils_the_weights_is_found(bench: Bench, step: int) -> None:
    cell = tiny_cell(spoil_step=step)
    outcome = bench.run(cell)
    assert outcome.status == "failed"
    assert f"step {step}: first NaN from aten.mul_" in outcome.reason
    diagnosis = forensics.replay(bench.store.folder(cell.key), lambda name: Tiny)
    assert (diagnosis.step, diagnosis.reproduced) == (step, True)


def test_a_repaired_method_replays_cleanly(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    cell = tiny_cell(poison_step=17)
    bench.run(cell)
    path = bench.file("failure/cell.json", cell)
    path.write_text(path.read_text().replace('"poison_step": 17', '"poison_step": -1'))
    diagnosis = forensics.replay(path.parent, lambda name: Tiny)
    assert not diagnosis.reproduced
    assert "finite" in str(diagnosis)


def test_a_folder_that_is_no_bundle_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="not a failure bundle"):
        forensics.replay(tmp_path, lambda name: Tiny)


def _network() -> Any:
    from torch import nn

    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 3, 3))


def _interrupt(bench: Bench, step: int, cell: Cell = CELL) -> None:
    """Run until Ctrl-C at ``step``."""
    import os
    import signal

    original = Tiny.train_step

    def interrupting(self: Tiny, batch: Any, number: int) -> Any:
        if number == step:
            os.kill(os.getpid(), signal.SIGINT)
        return original(self, batch, number)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Tiny, "train_step", interrupting)
        with pytest.raises(KeyboardInterrupt):
            bench.run(cell)
    bench.seen.clear()
