"""Scores for samples that somebody already has: two folders of pictures, no training."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar, get_args

import torch
from torch import Tensor

from harness.data.pictures import load_folder
from harness.metrics import fid, kid, manifold
from harness.metrics.card import MetricCard, column_name
from harness.metrics.errors import MetricError, UnknownOption
from harness.metrics.features import FeatureSpace, feature_space
from harness.metrics.resize import ResizeProtocol
from harness.score_output import deliver
from harness.tables.text import csv_bytes, fixed, number
from harness.types import ConfigError

K_BALLS, K_NEIGHBOURS = 3, 5
Found = TypeVar("Found")
NORMAL = 1.959963984540054


@dataclass(frozen=True)
class Line:
    """One metric: column name, value, interval at 95 %, and why something is missing."""

    column: str
    value: float
    low: float = math.nan
    high: float = math.nan
    note: str = ""


@dataclass(frozen=True)
class SetScores:
    """Metrics of a generated set against a real one, with what fixes them: space, digest, counts, resize protocol."""

    lines: tuple[Line, ...]
    facts: Mapping[str, str | int] = field(default_factory=dict)


def generation(
    real: Path,
    fake: Path,
    *,
    features: str = "inception",
    resize: str = "clean",
    resolution: str | int | None = None,
    weights: str | None = None,
    out: str | None = None,
) -> int:
    """Score the pictures below ``fake`` against those below ``real``, print a table and return exit code 0.

    ``features`` is ``inception`` (needs the published weights), ``pixels`` or ``random``; ``resize`` brings pictures to
    the space's size by protocol ``clean``, ``legacy`` or ``legacy-torch``; ``resolution`` crops and resizes every
    picture first; ``out`` is a folder for scores.csv and scores.json. Raises DataError for pictures that cannot be
    used, MissingAsset without the weights, ConfigError for a wrong word, MetricError for too few pictures.
    """
    protocols = tuple(name for name in get_args(ResizeProtocol) if name != "none")
    if resize not in protocols:
        raise UnknownOption(f"unknown resize protocol {resize!r}", where="score generation", nearest=protocols)
    space = feature_space(features, weights=weights, resize=resize)  # type: ignore[arg-type]
    size = None if resolution is None else _whole("resolution", resolution, 1)
    folders = {"fake": fake, "real": real}
    sets = {name: torch.from_numpy(load_folder(path, resolution=size)) for name, path in folders.items()}
    rows = {name: space(images.permute(0, 3, 1, 2)) for name, images in sets.items()}
    scores = score_sets(rows["fake"], rows["real"], space)
    return deliver(table(scores), to_csv(scores), to_json(scores), out)


def score_sets(fake: Tensor, real: Tensor, space: FeatureSpace) -> SetScores:
    """FID, KID, precision, recall, density and coverage of feature rows [n,d] against [m,d].

    Unequal counts are scored, and both stand in the column names: such a column merges with no other. A metric that
    needs more images is NaN with the reason; fewer than two images on a side raise TooFew.
    """
    n, m = len(fake), len(real)
    counts: dict[str, str | int | float] = {"n": n} if n == m else {"n_fake": n, "n_real": m}
    protocol = {**counts, "resize": space.resize}

    def name(card: MetricCard, **more: int) -> str:
        return column_name(card, space.name, {**more, **protocol})

    distance = fid.frechet_distance(fake, real, allow_unequal=True)
    lines = [_frechet_line(name(fid.FID), distance, fake, real)]
    value, error = kid.kernel_distance_full(fake, real, allow_unequal=True)
    spread = NORMAL * error
    lines.append(Line(name(kid.KID_FULL), value, value - spread, value + spread))
    for cards, k in (
        ((manifold.PRECISION, manifold.RECALL), K_BALLS),
        ((manifold.DENSITY, manifold.COVERAGE), K_NEIGHBOURS),
    ):
        measure = partial(manifold.precision_recall_density_coverage, fake, real, k=k)
        shares, reason = _attempt(measure)
        for card in cards:
            share = math.nan if shares is None else float(getattr(shares, card.name))
            lines.append(Line(name(card, k=k), share, note=reason))
    facts: dict[str, str | int] = {
        "features": space.name,
        "digest": space.digest,
        "resize": space.resize,
        "fake": n,
        "real": m,
    }
    return SetScores(tuple(lines), facts)


def table(scores: SetScores) -> str:
    """The scores as aligned text, with counts and the space's digest beneath."""
    rows = [["metric", "value", "95 % interval", ""]]
    for line in scores.lines:
        span = "" if math.isnan(line.low) else f"{fixed(line.low, 4)} .. {fixed(line.high, 4)}"
        rows.append([line.column, fixed(line.value, 4), span, line.note])
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    text = "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )
    facts = scores.facts
    text += f"\n\n{facts['fake']} generated and {facts['real']} real pictures, space {facts['features']} "
    text += f"({str(facts['digest'])[:12]}), resize {facts['resize']}"
    if facts["fake"] != facts["real"]:
        text += (
            "\nThe counts differ: FID falls as n grows, so compare this value with no other column. "
            "Use as many pictures on both sides."
        )
    return text


def to_csv(scores: SetScores) -> bytes:
    """Columns metric, value, ci_lo, ci_hi, note, n_fake, n_real, digest."""
    facts = [str(scores.facts[key]) for key in ("fake", "real", "digest")]
    lines = [[x.column, number(x.value), number(x.low), number(x.high), x.note, *facts] for x in scores.lines]
    return csv_bytes(["metric", "value", "ci_lo", "ci_hi", "note", "n_fake", "n_real", "feature_digest"], lines)


def to_json(scores: SetScores) -> bytes:
    """The same as JSON; NaN is null."""

    def plain(value: float) -> float | None:
        return value if math.isfinite(value) else None

    content = {
        "facts": dict(scores.facts),
        "metrics": {
            x.column: {"value": plain(x.value), "ci_lo": plain(x.low), "ci_hi": plain(x.high), "note": x.note}
            for x in scores.lines
        },
    }
    return (json.dumps(content, indent=1, sort_keys=True) + "\n").encode()


def _frechet_line(column: str, value: float, fake: Tensor, real: Tensor) -> Line:
    error, reason = _attempt(partial(fid.frechet_distance_stderr, fake, real))
    if error is None:
        return Line(column, value, note=f"no interval ({reason}); see that of kid_full")
    return Line(column, value, value - NORMAL * error, value + NORMAL * error)


def _attempt(measure: Callable[[], Found]) -> tuple[Found | None, str]:
    try:
        return measure(), ""
    except MetricError as error:
        return None, str(error)


def _whole(name: str, value: str | int, low: int) -> int:
    try:
        number = int(value)
    except ValueError:
        number = low - 1
    if number < low:
        raise ConfigError(f"{name}={value} must be a whole number of at least {low}", where="score generation")
    return number
