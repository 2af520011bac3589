"""Records of ``profile`` as tables: throughput.csv, phases.csv, throughput.md and profiles.jsonl, by device.

Same records, same bytes. profiles.jsonl keeps the records, from which the tables can be written again without a store.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.atomic import write_bytes
from harness.tables.text import csv_bytes, number
from harness.tables.throughput_page import page
from harness.types import StoreError, canonical_json

KEPT, FOLDER = "profiles.jsonl", "throughput"
Record = Mapping[str, Any]

ASKED = (
    *("suite", "part", "setting", "method", "variant", "tier", "data", "resolution", "batch", "further_rows"),
    *("device", "precision", "compile", "at", "threads", "deterministic", "channels_last"),
)
STATE = (
    "status",
    "reason",
    "samples",
    "first_step",
    "total_steps",
    "parameters",
    "build_s",
    "prepare_s",
    "prepare_rows",
)
TRAINING = (
    *("images_s", "images_s_q1", "images_s_q3", "cpu_images_s", "step_s", "blocks", "calls_per_block", "amortised"),
    *("first_step_s", "warmup_steps", "warmup_s", "compile_s", "peak_allocated", "peak_reserved", "flops_per_image"),
    *("flops_s", "mfu", "traffic_per_image", "bandwidth_share", "launch_share", "energy_j_per_image", "idle_watts"),
    *("energy_reason", "load_average", "other_cpus", "loaded"),
)
INFERENCE = (
    *("kind", "batch", "images_s", "images_s_q1", "images_s_q3", "cpu_images_s", "latency_calls", "latency_mean_s"),
    *("latency_cpu_s", "latency_p50_s", "latency_p90_s", "latency_p99_s", "flops_per_image", "flops_s", "mfu"),
    *("launch_share", "energy_j_per_image", "loaded"),
)
LAST = ("largest_batch", "largest_batch_reason", "clock_mhz")
PROVENANCE = ("started", "harness", "python", "system", "cpu", "cores", "memory_gib", "code")
PHASES = (
    *("phase", "calls_per_step", "call_s", "step_s", "share", "cpu_call_s", "cpu_step_s", "flops_per_call"),
    "flops_per_step",
)


def write(records: Iterable[Record], out: Path) -> list[Path]:
    """Write the tables of all records, and of those kept below ``out`` that none of them replaces, to
    ``out``/<device>/throughput/; returns the files written. Raises StoreError for a damaged archive."""
    known: dict[str, Record] = {}
    for path in sorted(out.glob(f"*/{FOLDER}/{KEPT}")):
        known |= {record["key"]: record for record in read(path)}
    known |= {record["key"]: record for record in records}
    by_device: dict[str, list[Record]] = defaultdict(list)
    for record in sorted(known.values(), key=_position):
        by_device[slug(record["identity"]["device"])].append(record)
    written: list[Path] = []
    for name, rows in sorted(by_device.items()):
        folder = out / name / FOLDER
        files = {
            "throughput.csv": csv_bytes(header(), lines(rows)),
            "phases.csv": csv_bytes([*ASKED, "loaded", *PHASES], _phase_lines(rows)),
            "throughput.md": page(rows, ranks(rows)).encode(),
            KEPT: "".join(f"{canonical_json(row)}\n" for row in rows).encode(),
        }
        for file, content in files.items():
            write_bytes(folder / file, content)
            written.append(folder / file)
    return written


def read(path: Path) -> list[Record]:
    """The records of an archive. Raises StoreError naming the line that is damaged."""
    found: list[Record] = []
    for count, text in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            record = json.loads(text)
            _position(record)
        except (ValueError, KeyError, TypeError) as error:
            raise StoreError(
                f"does not describe a profile: {error}", where=f"{path}:{count}", remedy="Restore or delete the file."
            ) from error
        found.append(record)
    return found


def slug(device: str) -> str:
    """The name of a device's folder: ``NVIDIA H100 80GB HBM3`` is ``nvidia-h100-80gb-hbm3``."""
    return re.sub(r"[^a-z0-9]+", "-", device.lower()).strip("-") or "unknown"


def header() -> list[str]:
    """Columns of throughput.csv: those of training and inference carry a prefix."""
    return [
        *(*ASKED, "rank", *STATE),
        *(f"train_{name}" for name in TRAINING),
        *(f"inference_{name}" for name in INFERENCE),
        *(*LAST, *PROVENANCE, "torch", "commit", "changed"),
    ]


def lines(rows: Sequence[Record]) -> list[list[str]]:
    """One line per record; empty where there is no figure."""
    places = ranks(rows)
    made = []
    for row in rows:
        training, inference = row.get("training") or {}, row.get("inference") or {}
        env = row["env"]
        made.append(
            [
                *(_text(row["identity"].get(name)) for name in ASKED),
                _text(places.get(row["key"])),
                *(_text(row.get(name)) for name in STATE),
                *(_text(training.get(name)) for name in TRAINING),
                *(_text(inference.get(name)) for name in INFERENCE),
                *(_text(row.get(name)) for name in LAST),
                *(_text(env.get(name)) for name in PROVENANCE),
                _text(env.get("packages", {}).get("torch")),
                _text(env.get("git", {}).get("commit")),
                _text(env.get("git", {}).get("changed")),
            ]
        )
    return made


def ranks(rows: Sequence[Record]) -> dict[str, int]:
    """Place of each row by training images per second among rows that asked for the same pictures and arithmetic.

    Rows measured on a loaded machine, put together from single phases, or on made-up data beside real ones hold none.
    """
    groups: dict[tuple[Any, ...], list[Record]] = defaultdict(list)
    for row in rows:
        training = row.get("training")
        if row["status"] == "done" and training and not training["loaded"] and not training["amortised"]:
            groups[_question(row)].append(row)
    places: dict[str, int] = {}
    for members in groups.values():
        rates = sorted((member["training"]["images_s"] for member in members), reverse=True)
        places |= {member["key"]: 1 + rates.index(member["training"]["images_s"]) for member in members}
    return places


def _question(row: Record) -> tuple[Any, ...]:
    """What two rows must share to be compared: all but the method and its batch."""
    identity = row["identity"]
    shared = (
        "suite",
        "part",
        "setting",
        "tier",
        "data",
        "resolution",
        "device",
        "precision",
        "compile",
        "at",
        "threads",
    )
    return (*(identity[name] for name in shared), row["samples"].partition(":")[0])


def _phase_lines(rows: Sequence[Record]) -> list[list[str]]:
    return [
        [
            *(_text(row["identity"].get(name)) for name in ASKED),
            _text(row["training"]["loaded"]),
            *(_text(phase.get(name)) for name in PHASES),
        ]
        for row in rows
        for phase in row.get("phases", ())
    ]


def _position(row: Record) -> tuple[Any, ...]:
    identity = row["identity"]
    tiers = ("smoke", "micro", "small", "paper")
    return (
        *(identity["suite"], identity["part"], identity["setting"], tiers.index(identity["tier"])),
        *(identity["variant"], identity["precision"], identity["compile"], identity["threads"], row["key"]),
    )


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return number(value) if isinstance(value, float) else str(value)
