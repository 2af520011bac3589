"""The readable leaderboard: one page of tables with their caveats."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from harness.tables import learning
from harness.tables.columns import part_of
from harness.tables.costs import LEGEND
from harness.tables.figures import Drawing
from harness.tables.learning import Learning
from harness.tables.metric_tables import group_tables, is_defined, name
from harness.tables.pictures import caption
from harness.tables.ranks import ranks
from harness.tables.reported import Published
from harness.tables.rows import Row, meaning
from harness.tables.sections import families, main_rows, variants
from harness.tables.text import cell, code, count, fixed, markdown_table

ORACLES = {"generation_3d": "real data", "generation_rgbd": "real data"}
"""What stands behind the oracle rows of a protocol, where that is not simply the truth."""
INSTRUMENTS = {
    "judges": "judges (SHA-256 of the weights behind `proc-v1`, pose and depth)",
    "judge_report": "judges on held-out pictures",
    "features": "frozen features that detectors see (name, SHA-256 of the weights)",
}
"""Notes of results that say with what they were measured."""


@dataclass(frozen=True)
class Extras:
    """What a page shows beside its rows: learning curves, figures drawn from the rows, names of pictures of cells, and
    names of further pages."""

    learned: Sequence[Learning] = ()
    drawings: Sequence[Drawing] = ()
    pictures: Sequence[str] = ()
    pages: Sequence[str] = ()


def page(rows: Sequence[Row], published: Sequence[Published] = (), extras: Extras = Extras()) -> str:
    """A page of all rows of one suite and tier, a section per data set."""
    first = rows[0]
    parts = [f"# {cell(first.suite)}, tier {cell(first.tier)}\n", _preface(rows, extras.pages)]
    for table in dict.fromkeys(row.table for row in rows):
        members = [row for row in rows if row.table == table]
        parts.append(f"## {cell(members[0].data)}\n")
        parts += _tables(members, extras.learned)
    parts += [_figures(extras.drawings), _endings(rows), _states(rows), _published(published)]
    parts += [_gallery(extras.pictures), _provenance(rows)]
    return "\n".join(part for part in parts if part)


def _preface(rows: Sequence[Row], pages: Sequence[str]) -> str:
    budgets = sorted({(row.images, row.budget) for row in rows if row.role == "method"})
    seeds = sorted({len(row.done) for row in rows if row.role == "method"})
    known = ", ".join(sorted({ORACLES.get(row.protocol, "know the truth") for row in rows}))
    lines = [
        "Mean over seeds ± sample standard deviation; the interval of every number is in metrics.csv (95 % percentile "
        "bootstrap of the mean). **Bold** is the best mean, as shown, among trained rows of one budget; in brackets "
        f"the ranks that the intervals leave open. `floor:` rows are trivial predictors, `oracle:` rows {known}: "
        "together they show the usable range of each column.",
    ]
    if len(budgets) > 1:
        named = ", ".join(f"{name} ({count(images)} images)" for images, name in budgets)
        lines.append(f"Budgets differ between rows: {named}. Rows of unequal budgets are never ranked together.")
    settings = sorted({setting for row in rows for setting in row.setting})
    if settings:
        named = ", ".join(f"{code(setting)} ({meaning(setting)})" for setting in settings)
        lines.append(f"Rows with {named} solve another task and are ranked among themselves.")
    oracles = sorted({row.method for row in rows if row.role == "oracle" and row.trained})
    if oracles:
        named = ", ".join(map(code, oracles))
        lines.append(f"{named} trained on labels that the setting hides from the others: a bound, without a rank.")
    if seeds and seeds[0] < 2:
        lines.append(
            "Rows with fewer than two seeds have no interval: their ranks are unknown and their order is weak."
        )
    if pages:
        lines.append(f"Further tables: {', '.join(f'[{page}]({page})' for page in pages)}.")
    return "\n\n".join(lines) + "\n"


def _trained(rows: Sequence[Row]) -> str:
    """What every trained row consumed and is; seconds stand in costs.csv, because they differ between equal runs."""
    header = ["", "images", "seeds", "steps", "batch", "parameters", "precision"]

    def fact(row: Row, name: str) -> str:
        return ", ".join(count(int(text)) if text.isdigit() else cell(text) for text in row.facts.get(name, ()))

    lines = [
        [cell(name(row)), count(row.images), str(len(row.done))]
        + [fact(row, name) for name in ("steps", "batch_size", "params", "precision")]
        for row in rows
        if row.trained
    ]
    if not lines:
        return ""
    told = f"Parameters of all networks. [costs.csv](costs.csv) has {LEGEND}. costs.json has it by cell."
    return f"### Training\n\n{markdown_table(header, lines)}\n{told}\n"


def _tables(rows: Sequence[Row], learned: Sequence[Learning]) -> list[str]:
    shown, apart = main_rows(rows), {id(row) for row in variants(rows)}
    parts = [
        _trained([*shown, *variants(rows)]),
        *group_tables(shown, ranks(rows)),
        _peaks(shown, learned, readings=learning.READINGS),
    ]
    if apart:
        parts.append(
            "### Variants\n\nA method as it is, then with one or more settings changed. The best of many variants is "
            "chosen by its test score, so variants hold no rank. Columns read as above.\n"
        )
        changed = [row for family in families(rows) for row in family]
        parts += [*group_tables(changed, {}, "####", readings=False), _peaks(changed, learned, "####")]
    return parts


def _peaks(rows: Sequence[Row], learned: Sequence[Learning], level: str = "###", readings: str = "") -> str:
    by_group = {one.row.group: one for one in learned}
    table = learning.peaks_table([by_group[row.group] for row in rows if row.group in by_group])
    return "\n".join(part for part in (f"{level} Along the training\n", table, readings) if part) if table else ""


def _figures(drawings: Sequence[Drawing]) -> str:
    parts = [
        text
        for drawing in drawings
        for text in (f"{cell(drawing.caption)}\n\n![{drawing.name}](pictures/{drawing.name}.png)\n", drawing.table)
    ]
    return "\n".join(["## Figures\n", *filter(None, parts)]) if parts else ""


def _endings(rows: Sequence[Row]) -> str:
    lines = [
        f"- {cell(name(row))}: {row.status}"
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
            lines.append(f"- {cell(name(row))}: {ends}{_medians(row)}")
    return "## How the pose control ended, by seed\n\n" + "\n".join(lines) + "\n" if lines else ""


def _medians(row: Row) -> str:
    known = [row.values[name] for name in ("pose_corr", "pose_slope") if is_defined(row.values.get(name))]
    if not known or len(row.done) < 2:
        return ""
    return "; medians: " + ", ".join(f"`{value.column}` {fixed(value.median, 3)}" for value in known)


def _published(published: Sequence[Published]) -> str:
    published = [one for one in published if part_of(one.metric) is None]  # numbers by category stay in their file
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
    by_caption: dict[str, list[str]] = {}
    for picture in sorted(pictures, key=lambda picture: not caption(picture)):
        by_caption.setdefault(caption(picture), []).append(f"![{picture}](pictures/{picture})")
    parts = ["\n".join(shown) + "\n" for shown in by_caption.values()]
    titled = [f"{text}\n\n{part}" if text else part for text, part in zip(by_caption, parts, strict=True)]
    return "## Pictures\n\n" + "\n".join(titled)


def _provenance(rows: Sequence[Row]) -> str:
    def known(name: str) -> str:
        texts = {text for row in rows for text in (*row.facts.get(name, ()), *row.notes.get(name, {}).values())}
        return ", ".join(cell(text) for text in sorted(texts))

    lines = [
        f"- data recipe: {', '.join(sorted({code(row.data_digest[:12]) for row in rows}))}",
        f"- protocol: {', '.join(sorted({cell(row.protocol) for row in rows}))}",
        *(f"- {meaning}: {known(name)}" for name, meaning in INSTRUMENTS.items() if known(name)),
        f"- device: {known('device') or 'not recorded'}",
        f"- code: {', '.join(sorted({code(digest[:12]) for row in rows for digest in row.codes})) or 'not recorded'}",
    ]
    if len({text for row in rows for text in row.notes.get("judges", {}).values()}) > 1:
        lines.append("- **Rows were scored by different judges (another machine trains others): compare with care.**")
    return "## Provenance\n\n" + "\n".join(lines) + "\n"
