"""The readable leaderboard: one page of tables with their caveats."""

from __future__ import annotations

import math
from collections.abc import Sequence

from harness.tables.columns import GROUPS, style
from harness.tables.ranks import Rank, ranks
from harness.tables.reported import Published
from harness.tables.rows import Row, Value, columns_of
from harness.tables.text import cell, code, count, fixed, markdown_table

ARROWS = {"lower": " ↓", "higher": " ↑", "none": ""}


def page(rows: Sequence[Row], published: Sequence[Published] = (), pictures: Sequence[str] = ()) -> str:
    """A page of all rows of one suite and tier, a section per data set."""
    first = rows[0]
    parts = [f"# {cell(first.suite)}, tier {cell(first.tier)}\n", _preface(rows)]
    for table in dict.fromkeys(row.table for row in rows):
        members = [row for row in rows if row.table == table]
        parts.append(f"## {cell(members[0].data)}\n")
        parts += [_trained(members), *_tables(members)]
    parts += [_endings(rows), _states(rows), _published(published), _gallery(pictures), _provenance(rows)]
    return "\n".join(part for part in parts if part)


def _preface(rows: Sequence[Row]) -> str:
    budgets = sorted({(row.images, row.budget) for row in rows if row.role == "method"})
    seeds = sorted({len(row.done) for row in rows if row.role == "method"})
    lines = [
        "Mean over seeds ± sample standard deviation; the interval of every number is in metrics.csv (95 % percentile "
        "bootstrap of the mean). **Bold** is the best mean among trained rows of one budget; in brackets the ranks "
        "that the intervals leave open. `floor:` rows are trivial predictors, `oracle:` rows real data: together they "
        "show the usable range of each column.",
    ]
    if len(budgets) > 1:
        named = ", ".join(f"{name} ({count(images)} images)" for images, name in budgets)
        lines.append(f"Budgets differ between rows: {named}. Rows of unequal budgets are never ranked together.")
    if seeds and seeds[0] < 2:
        lines.append(
            "Rows with fewer than two seeds have no interval: their ranks are unknown and their order is weak."
        )
    return "\n\n".join(lines) + "\n"


def _trained(rows: Sequence[Row]) -> str:
    """What every trained row consumed and is; seconds stand in costs.json, because they differ between equal runs."""
    header = ["", "images", "seeds", "steps", "batch", "parameters", "precision"]

    def fact(row: Row, name: str) -> str:
        return ", ".join(count(int(text)) if text.isdigit() else cell(text) for text in row.facts.get(name, ()))

    lines = [
        [cell(_name(row)), count(row.images), str(len(row.done))]
        + [fact(row, name) for name in ("steps", "batch_size", "params", "precision")]
        for row in rows
        if row.role == "method"
    ]
    if not lines:
        return ""
    return f"### Training\n\n{markdown_table(header, lines)}\nParameters of all networks; seconds are in costs.json.\n"


def _tables(rows: Sequence[Row]) -> list[str]:
    places = ranks(rows)
    parts = []
    for group in GROUPS:
        columns = [column for column in columns_of(rows) if style(column).group == group and style(column).page]
        columns = [column for column in columns if any(_defined(row.values.get(column)) for row in rows)]
        if not columns:
            continue
        header = ["", "images", "seeds", *(code(column) + ARROWS[style(column).better] for column in columns)]
        scored = [row for row in rows if any(_defined(row.values.get(column)) for column in columns)]
        gaps: dict[str, str] = {}
        lines = [
            [cell(_name(row)), count(row.images) if row.images else "", str(len(row.done))]
            + [_entry(row.values.get(column), column, places.get((id(row), column)), gaps) for column in columns]
            for row in scored
        ]
        readings = "".join(f"- <sup>{mark}</sup> {cell(reason)}\n" for reason, mark in gaps.items())
        without = "".join(_without(row, columns) for row in rows if row.done and row not in scored)
        readings += "".join(f"- `{column}`: {style(column).reading}\n" for column in columns if style(column).reading)
        parts.append(f"### {group}\n\n{markdown_table(header, lines)}\n{readings}{without}")
    return parts


def _without(row: Row, columns: Sequence[str]) -> str:
    reasons = sorted({row.values[column].note for column in columns if column in row.values} - {""})
    return f"- {cell(_name(row))} is not in this table: {cell('; '.join(reasons) or 'it has no such columns')}\n"


def _defined(value: Value | None) -> bool:
    return value is not None and math.isfinite(value.mean)


def _name(row: Row) -> str:
    return f"{row.label} ({row.budget})" if row.budget else row.label


def _entry(value: Value | None, column: str, rank: Rank | None, gaps: dict[str, str]) -> str:
    if value is None:
        return ""
    if not math.isfinite(value.mean):
        mark = gaps.setdefault(value.note, chr(ord("a") + len(gaps))) if value.note else ""
        return f"n/a <sup>{mark}</sup>" if mark else "n/a"
    digits = style(column).digits
    text = fixed(value.mean, digits)
    if math.isfinite(value.std):
        text += f" ± {fixed(value.std, digits)}"
    if rank is None:
        return text
    text = f"**{text}**" if rank.best else text
    if rank.low is None:
        return text
    return f"{text} ({rank.low}{'' if rank.low == rank.high else f'–{rank.high}'})"


def _endings(rows: Sequence[Row]) -> str:
    lines = [
        f"- {cell(_name(row))}: {row.status}"
        + "".join(f"; seed {seed}: {cell(reason)}" for seed, reason in sorted(row.reasons.items()))
        + (f"; stale seeds (the code has changed since): {', '.join(map(str, row.stale))}" if row.stale else "")
        for row in rows
        if row.status != "done"
    ]
    return "## Seeds that did not end well, or are stale\n\n" + "\n".join(lines) + "\n" if lines else ""


def _states(rows: Sequence[Row]) -> str:
    lines = []
    for row in rows:
        by_state: dict[str, list[str]] = {}
        for seed, state in row.notes.get("pose_state", {}).items():
            by_state.setdefault(state, []).append(str(seed))
        if row.role == "method" and by_state:
            ends = "; ".join(
                f"{cell(state)} {len(seeds)} of {len(row.done)} (seeds {', '.join(seeds)})"
                for state, seeds in sorted(by_state.items(), key=lambda item: (-len(item[1]), item[0]))
            )
            lines.append(f"- {cell(_name(row))}: {ends}{_medians(row)}")
    return "## How the pose control ended, by seed\n\n" + "\n".join(lines) + "\n" if lines else ""


def _medians(row: Row) -> str:
    known = [row.values[name] for name in ("pose_corr", "pose_slope") if _defined(row.values.get(name))]
    if not known or len(row.done) < 2:
        return ""
    return "; medians: " + ", ".join(f"`{value.column}` {fixed(value.median, 3)}" for value in known)


def _published(published: Sequence[Published]) -> str:
    if not published:
        return ""
    origins = list(dict.fromkeys((p.source, p.protocol, p.checked) for p in published))
    header = ["method", "data", "metric", "value", "source"]
    lines = [
        [
            cell(p.method),
            cell(p.dataset),
            code(p.metric),
            f"{p.value:g}" + (f" ± {p.std:g}" if math.isfinite(p.std) else ""),
            str(origins.index((p.source, p.protocol, p.checked)) + 1),
        ]
        for p in published
    ]
    sources = "".join(
        f"{number}. {cell(source)}. Protocol: {cell(protocol)}. Checked: {cell(checked)}.\n"
        for number, (source, protocol, checked) in enumerate(origins, start=1)
    )
    return (
        "## Published numbers\n\nOther data, other features, other budgets: for reading beside the tables above, not "
        f"for comparing with them.\n\n{markdown_table(header, lines)}\n{sources}"
    )


def _gallery(pictures: Sequence[str]) -> str:
    if not pictures:
        return ""
    return "## Pictures\n\n" + "\n".join(f"![{name}](pictures/{name})" for name in pictures) + "\n"


def _provenance(rows: Sequence[Row]) -> str:
    def known(name: str) -> str:
        texts = {text for row in rows for text in (*row.facts.get(name, ()), *row.notes.get(name, {}).values())}
        return ", ".join(cell(text) for text in sorted(texts)) or "not recorded"

    judges = {text for row in rows for text in row.notes.get("judges", {}).values()}
    lines = [
        f"- data recipe: {', '.join(sorted({code(row.data_digest[:12]) for row in rows}))}",
        f"- protocol: {', '.join(sorted({cell(row.protocol) for row in rows}))}",
        f"- judges (SHA-256 of the weights behind `proc-v1`, pose and depth): {known('judges')}",
        f"- judges on held-out pictures: {known('judge_report')}",
        f"- device: {known('device')}",
        f"- code: {', '.join(sorted({code(digest[:12]) for row in rows for digest in row.codes})) or 'not recorded'}",
    ]
    if len(judges) > 1:
        lines.append("- **Rows were scored by different judges (another machine trains others): compare with care.**")
    return "## Provenance\n\n" + "\n".join(lines) + "\n"
