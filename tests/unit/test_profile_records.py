"""Records of profiles and their tables: same records, same bytes, and nothing is ranked that must not be."""

from __future__ import annotations

import csv
import io
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from harness.running.profiling import records
from harness.running.profiling.largest_batch import largest_fitting, out_of_memory
from harness.running.profiling.own_process import in_own_process
from harness.tables import throughput
from harness.types import StoreError

ASKED: dict[str, Any] = {
    **{"suite": "3d_aware", "part": "main", "setting": "", "tier": "smoke", "data": "objects/head", "resolution": 32},
    **{"batch": 8, "further_rows": 0, "device": "cpu", "precision": "fp32", "compile": False, "at": 0.75, "threads": 1},
    **{"deterministic": True, "channels_last": True, "overrides": {}, "adjusted": {}},
}
MEASURED: dict[str, Any] = {
    **{"images_s": 100.0, "images_s_q1": 90.0, "images_s_q3": 110.0, "cpu_images_s": 101.0, "step_s": 0.08},
    **{"blocks": 20, "calls_per_block": 16, "amortised": False, "loaded": False, "mfu": None, "launch_share": 0.25},
    **{"flops_per_image": 1e9, "flops_s": 1e11, "peak_allocated": 2**20, "energy_j_per_image": None},
}
INFERRED: dict[str, Any] = {
    **{"kind": "generate", "batch": 8, "images_s": 500.0, "flops_per_image": 1e8, "loaded": False},
    **{f"latency_{name}_s": 0.002 for name in ("p50", "p90", "p99", "mean", "cpu")},
}
PHASE: dict[str, Any] = {
    **{"phase": "r1", "calls_per_step": 1 / 16, "call_s": 0.16, "step_s": 0.01, "share": 0.125, "cpu_call_s": 0.15},
    **{"cpu_step_s": 0.009, "flops_per_call": 2e9, "flops_per_step": 1.25e8},
}


def record(method: str, *, asked: dict[str, Any] | None = None, **training: Any) -> dict[str, Any]:
    identity = {**ASKED, "method": method, "variant": method, **(asked or {})}
    return {
        "version": 1,
        "key": records.key_of(identity),
        "identity": identity,
        "status": "done",
        "reason": "",
        "samples": "real",
        "training": {**MEASURED, **training},
        "inference": INFERRED,
        "phases": [PHASE],
        "prepare_s": 0.0,
        "prepare_rows": 64,
        "parameters": 1000,
        "largest_batch": None,
        "env": {"cpu": "some <b>CPU</b>", "packages": {"torch": "2.15"}, "git": {"commit": "abc", "changed": False}},
    }


def table(folder: Path, name: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO((folder / name).read_text())))


def test_equal_records_give_equal_bytes_in_any_order(tmp_path: Path) -> None:
    rows = [record("hologan", images_s=50.0), record("dcgan"), record("dcgan", asked={"threads": 2})]
    first = throughput.write(rows, tmp_path / "a")
    second = throughput.write(reversed(rows), tmp_path / "b")
    assert [path.name for path in first] == ["throughput.csv", "phases.csv", "throughput.md", "profiles.jsonl"]
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    assert first[0].parent == tmp_path / "a" / "cpu" / "throughput"


def test_tables_can_be_written_again_from_what_is_kept(tmp_path: Path) -> None:
    first = throughput.write([record("dcgan"), record("hologan")], tmp_path)
    before = [path.read_bytes() for path in first]
    assert [path.read_bytes() for path in throughput.write([], tmp_path)] == before
    throughput.write([record("dcgan", images_s=7.0)], tmp_path)  # the newer record of the same question
    rates = {row["method"]: row["train_images_s"] for row in table(first[0].parent, "throughput.csv")}
    assert rates == {"dcgan": "7", "hologan": "100"}


def test_figures_stand_in_their_columns_and_absent_ones_are_empty(tmp_path: Path) -> None:
    throughput.write([record("dcgan")], tmp_path)
    (row,) = table(tmp_path / "cpu" / "throughput", "throughput.csv")
    assert row["train_images_s"] == "100"
    assert row["train_mfu"] == ""
    assert row["inference_latency_p99_s"] == "0.002"
    assert row["compile"] == "false"
    assert row["torch"] == "2.15"
    (phase,) = table(tmp_path / "cpu" / "throughput", "phases.csv")
    assert (phase["phase"], phase["calls_per_step"]) == ("r1", "0.0625")


def test_rows_of_a_loaded_machine_hold_no_rank(tmp_path: Path) -> None:
    rows = [
        record("fast", images_s=900.0, loaded=True),
        record("put_together", images_s=800.0, amortised=True),
        record("second", images_s=100.0),
        record("first", images_s=200.0),
        record("other_question", images_s=1.0, asked={"resolution": 64}),
        {**record("failing"), "status": "failed", "reason": "out of memory", "training": None, "phases": []},
    ]
    throughput.write(rows, tmp_path)
    found = {row["method"]: row["rank"] for row in table(tmp_path / "cpu" / "throughput", "throughput.csv")}
    assert found == {
        "fast": "",
        "put_together": "",
        "second": "2",
        "first": "1",
        "other_question": "1",
        "failing": "",
    }
    page = (tmp_path / "cpu" / "throughput" / "throughput.md").read_text()
    assert "900\\*" in page
    assert "800~" in page
    assert "- failing: failed: out of memory" in page
    assert "some &lt;b&gt;CPU&lt;/b&gt;" in page


def test_a_method_without_training_steps_says_so(tmp_path: Path) -> None:
    throughput.write([{**record("padim"), "training": None, "phases": [], "prepare_s": 1.5}], tmp_path)
    assert "fitted in 1.5 s on 64 images" in (tmp_path / "cpu" / "throughput" / "throughput.md").read_text()


def test_devices_have_folders_of_their_own(tmp_path: Path) -> None:
    throughput.write([record("dcgan"), record("dcgan", asked={"device": "NVIDIA H100 80GB HBM3"})], tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cpu", "nvidia-h100-80gb-hbm3"]


def test_a_damaged_archive_is_named(tmp_path: Path) -> None:
    (path,) = [p for p in throughput.write([record("dcgan")], tmp_path) if p.suffix == ".jsonl"]
    path.write_text(path.read_text() + "{}\n")
    with pytest.raises(StoreError, match=r"profiles.jsonl:2"):
        throughput.write([], tmp_path)


def test_a_store_keeps_records_beside_cells(tmp_path: Path) -> None:
    path = records.write(tmp_path, record("dcgan"))
    assert path.parent == tmp_path / "profiles"
    (tmp_path / "profiles" / "broken.json").write_text("{")
    with pytest.warns(UserWarning, match="broken"):
        assert [one["identity"]["method"] for one in records.read(tmp_path)] == ["dcgan"]
    from harness.store import Store

    assert Store(tmp_path).keys() == []


# ------------------------------------------------------------------------------------------------- processes, memory
def test_work_in_a_process_of_its_own_answers_or_its_death_does() -> None:
    def dead(reason: str) -> dict[str, Any]:
        return {"reason": reason}

    def killed() -> dict[str, Any]:
        os.kill(os.getpid(), signal.SIGKILL)
        return {}

    def left() -> dict[str, Any]:
        os._exit(7)

    assert in_own_process(lambda: {"value": 3, "pid": os.getpid()}, dead)["pid"] != os.getpid()
    assert "out of memory" in in_own_process(killed, dead)["reason"]
    assert "exit code 7" in in_own_process(left, dead)["reason"]


def test_a_long_answer_is_not_cut() -> None:
    assert len(in_own_process(lambda: {"text": "x" * 3_000_000}, lambda reason: {})["text"]) == 3_000_000


@pytest.mark.parametrize(("true", "known", "found"), [(100, 8, 96), (8, 8, 8), (1, 1, 1), (9, 8, 9), (5000, 64, 4096)])
def test_the_largest_batch(true: int, known: int, found: int) -> None:
    assert largest_fitting(lambda batch: batch <= true, known) == found


def test_errors_of_memory_are_told_from_others() -> None:
    assert out_of_memory(MemoryError())
    assert out_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"))
    assert not out_of_memory(RuntimeError("shapes cannot be multiplied"))
    assert not out_of_memory(ValueError("can't allocate memory"))
