"""throughput.md: what was measured on one device, for people."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from harness.tables.text import cell, markdown_table

Record = Mapping[str, Any]

_STEPS = (
    *("method", "batch", "threads", "images/s", "quartiles", "per CPU s", "ms a step", "GFLOP an image", "GFLOP/s"),
    *("MFU", "launch", "peak MiB", "J an image", "largest batch", "rank"),
)
_ASKED = (
    "method",
    "asks",
    "threads",
    "ms p50",
    "p90",
    "p99",
    "ms mean",
    "CPU ms",
    "images/s in batches",
    "GFLOP an image",
)
_PARTS = (
    "method",
    "threads",
    "phase",
    "calls a step",
    "ms a call",
    "CPU ms a call",
    "ms a step",
    "share",
    "GFLOP a call",
)


def page(rows: Sequence[Record], ranks: Mapping[str, int]) -> str:
    """The page of one device's records, in their order; ``ranks`` by key."""
    device = rows[0]["identity"]["device"]
    parts = [f"# Throughput on {cell(device)}\n\n{_preface(rows)}"]
    groups: dict[str, list[Record]] = defaultdict(list)
    for row in rows:
        groups[_title(row)].append(row)
    for title, members in groups.items():
        parts.append(f"## {cell(title)}\n")
        done = [row for row in members if row["status"] == "done"]
        if done:
            parts.append(f"{_samples(done)}\n\n### Training step\n")
            parts.append(markdown_table(_STEPS, [_step(row, ranks) for row in done]))
            parts.append("### Inference\n")
            parts.append(markdown_table(_ASKED, [_call(row) for row in done if row.get("inference")], left=2))
            parts.append("### Phases\n")
            phases = [_part(row, phase) for row in done for phase in row["phases"]]
            parts.append(markdown_table(_PARTS, phases))
        bad = [row for row in members if row["status"] != "done"]
        if bad:
            parts.append("### Not measured\n")
            parts.append("".join(f"- {cell(_name(row))}: {row['status']}: {cell(row['reason'])}\n" for row in bad))
    parts.append(f"## Provenance\n\n{_provenance(rows)}")
    return "\n".join(parts)


def _preface(rows: Sequence[Record]) -> str:
    busy = sum(_loaded(row) for row in rows)
    said = "docs/profile.md says what every column means and how it is measured. "
    said += "Lazy phases, such as R1, count as often as they run. "
    if busy:
        said += (
            f"{busy} of {len(rows)} rows were measured while the machine did other work (marked *): their wall times "
            "hold no rank and say little; CPU times are less affected. "
        )
    if any((row.get("training") or {}).get("amortised") for row in rows):
        said += "Rates marked ~ are put together from single calls of the phases. "
    return said.strip() + "\n"


def _title(row: Record) -> str:
    asked = row["identity"]
    where = [asked["suite"]]
    where += [f"part {asked['part']}"] if asked["part"] != "main" else []
    where += [f"setting {asked['setting']}"] if asked["setting"] else []
    how = [asked["data"], f"{asked['resolution']} px", asked["precision"], *(["compiled"] if asked["compile"] else [])]
    return f"{', '.join(where)}, {asked['tier']}: {', '.join(how)}"


def _samples(rows: Sequence[Record]) -> str:
    kinds: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        if row["identity"]["variant"] not in kinds[row["samples"]]:
            kinds[row["samples"]].append(row["identity"]["variant"])
    if len(kinds) == 1:
        return f"Samples: {cell(next(iter(kinds)))}."
    return " ".join(f"Samples of {cell(', '.join(names))}: {cell(kind)}." for kind, names in kinds.items())


def _step(row: Record, ranks: Mapping[str, int]) -> list[str]:
    asked, made = row["identity"], row["training"]
    head = [cell(_name(row)), _batch(asked), str(asked["threads"])]
    if not made:
        seconds = row["prepare_s"]
        rate = f"fitted in {_digits(seconds)} s on {row['prepare_rows']} images"
        return [*head, rate, *[""] * (len(_STEPS) - len(head) - 1)]
    mark = ("~" if made["amortised"] else "") + ("\\*" if made["loaded"] else "")
    quartiles = (
        "" if made["images_s_q1"] is None else f"{_digits(made['images_s_q1'])} to {_digits(made['images_s_q3'])}"
    )
    peak = made["peak_allocated"]
    return [
        *head,
        f"{_digits(made['images_s'])}{mark}",
        quartiles,
        _digits(made["cpu_images_s"]),
        _digits(made["step_s"], 1e3),
        _digits(made["flops_per_image"], 1e-9),
        _digits(made["flops_s"], 1e-9),
        _percent(made["mfu"]),
        _percent(made["launch_share"]),
        "" if peak is None else f"{peak / 2**20:.0f}",
        _digits(made["energy_j_per_image"]),
        "" if row["largest_batch"] is None else str(row["largest_batch"]),
        str(ranks.get(row["key"], "")),
    ]


def _call(row: Record) -> list[str]:
    made = row["inference"]
    mark = "\\*" if made["loaded"] else ""
    return [
        cell(_name(row)),
        made["kind"],
        str(row["identity"]["threads"]),
        *(_digits(made[f"latency_{name}_s"], 1e3) for name in ("p50", "p90", "p99", "mean", "cpu")),
        f"{_digits(made['images_s'])}{mark}",
        _digits(made["flops_per_image"], 1e-9),
    ]


def _part(row: Record, phase: Mapping[str, Any]) -> list[str]:
    return [
        cell(_name(row)),
        str(row["identity"]["threads"]),
        cell(phase["phase"]),
        _often(phase["calls_per_step"]),
        _digits(phase["call_s"], 1e3),
        _digits(phase["cpu_call_s"], 1e3),
        _digits(phase["step_s"], 1e3),
        _percent(phase["share"]),
        _digits(phase["flops_per_call"], 1e-9),
    ]


def _provenance(rows: Sequence[Record]) -> str:
    facts: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        env = row["env"]
        for name in ("cpu", "cores", "memory_gib", "python", "system"):
            facts[name].add(str(env.get(name, "")))
        facts["torch"].add(str(env.get("packages", {}).get("torch", "")))
        git = env.get("git", {})
        facts["commit"].add(f"{git.get('commit', 'unknown')[:12]}{' with changes' if git.get('changed') else ''}")
    return "".join(f"- {name}: {cell(', '.join(sorted(values)))}\n" for name, values in facts.items())


def _name(row: Record) -> str:
    return str(row["identity"]["variant"])


def _batch(asked: Mapping[str, Any]) -> str:
    return f"{asked['batch']} + {asked['further_rows']}" if asked["further_rows"] else str(asked["batch"])


def _loaded(row: Record) -> bool:
    return any((row.get(part) or {}).get("loaded") for part in ("training", "inference"))


def _often(rate: float) -> str:
    """How often a phase is called: ``1/16`` for every sixteenth step."""
    return f"1/{1 / rate:.3g}" if 0 < rate < 1 else f"{rate:.3g}"


def _digits(value: float | None, factor: float = 1.0) -> str:
    return "" if value is None else f"{value * factor:.3g}" if abs(value * factor) < 1e3 else f"{value * factor:,.0f}"


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.1f} %"
