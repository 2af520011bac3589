"""``python -m harness profile`` as a user calls it, on smoke presets."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest
import torch

from harness.cli import main
from harness.running import devices


def words(tmp_path: Path, cache: Path, *more: str) -> list[str]:
    places = [f"store={tmp_path / 'runs'}", f"out={tmp_path / 'out'}", f"cache={cache}"]
    return ["profile", "tier=smoke", "device=cpu", "threads=1", "seconds=0.2", *places, *more]


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_method_gives_rates_phases_and_tables(
    tmp_path: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trace = tmp_path / "traces"
    more = ("methods=[stylegan2]", "precision=fp32", "batch=4", "resolution=16", f"trace={trace}")
    assert main(words(tmp_path, cache, *more)) == 0
    folder = tmp_path / "out" / "cpu" / "throughput"
    assert str(folder / "throughput.csv") in capsys.readouterr().out
    (row,) = rows(folder / "throughput.csv")
    assert row["status"] == "done"
    assert row["samples"] == "synthetic: at 16 px, as asked for"
    assert float(row["train_images_s"]) > 0
    assert float(row["inference_latency_mean_s"]) > 0
    assert 0 <= float(row["train_launch_share"]) <= 1
    assert (row["batch"], row["threads"], row["train_mfu"]) == ("4", "1", "")
    assert row["largest_batch"] == ""
    assert row["largest_batch_reason"]
    assert row["train_energy_j_per_image"] or row["train_energy_reason"]
    phases = {phase["phase"]: phase for phase in rows(folder / "phases.csv")}
    assert set(phases) == {"g", "path", "d", "r1", "other"}
    assert float(phases["path"]["calls_per_step"]) == 0.25
    assert float(phases["r1"]["calls_per_step"]) == 1 / 16
    assert float(phases["r1"]["flops_per_step"]) == pytest.approx(float(phases["r1"]["flops_per_call"]) / 16)
    total = sum(float(phase["flops_per_step"]) for phase in phases.values())
    assert total / 4 == pytest.approx(float(row["train_flops_per_image"]), rel=1e-4)
    assert len(list(trace.glob("*.json"))) == 1
    texts = [path.read_text() for path in folder.iterdir()]
    assert not any(str(tmp_path) in text for text in texts)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    shutil.rmtree(tmp_path / "runs")
    assert main(words(tmp_path, cache, "--tables-only")) == 0
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_failing_method_stops_no_other(
    tmp_path: Path, cache: Path, plugin: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = plugin / "method.py"
    file.write_text(file.read_text() + "\n\ndef _full(*args, **kwargs):\n    raise MemoryError('no room')\n")
    name = [line for line in file.read_text().splitlines() if line.startswith("class ")][-1].split()[1].split("(")[0]
    file.write_text(file.read_text() + f"\n\n{name.rstrip(':')}.train_step = _full\n")
    more = (f"methods=[{plugin},stylegan2]", "resolution=16")
    assert main(words(tmp_path, cache, *more)) == 3
    found = {row["method"]: row for row in rows(tmp_path / "out" / "cpu" / "throughput" / "throughput.csv")}
    assert found["stylegan2"]["status"] == "done"
    assert found["tiny_vae"]["status"] == "failed"
    assert found["tiny_vae"]["reason"].startswith("out of memory: ")
    assert "no room" in (tmp_path / "out" / "cpu" / "throughput" / "throughput.md").read_text()
    record = next(r for r in map(json.loads, _records(tmp_path)) if r["identity"]["method"] == "tiny_vae")
    assert record["env"]["code"]
    assert "command" not in record["env"]


def _records(tmp_path: Path) -> list[str]:
    return [path.read_text() for path in sorted((tmp_path / "runs" / "profiles").glob("*.json"))]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_method_on_a_gpu(tmp_path: Path, cache: Path) -> None:
    asked = words(tmp_path, cache, "methods=[stylegan2]", "precision=bf16")
    assert main([*(word for word in asked if word != "device=cpu"), "device=cuda"]) == 0
    name = devices.device_name(torch.device("cuda"))
    (path,) = (tmp_path / "out").glob("*/throughput/throughput.csv")
    (row,) = rows(path)
    assert row["device"] == name
    assert int(row["train_peak_allocated"]) <= int(row["train_peak_reserved"])
    assert int(row["largest_batch"]) >= int(row["batch"])
    assert row["train_mfu"] == "" or 0 < float(row["train_mfu"]) <= 1
