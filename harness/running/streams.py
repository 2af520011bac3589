"""What a training reads: the protocol's training split and, where it has one, a second stream of unlabelled samples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from harness import registry
from harness.running import devices
from harness.types import Cell, ConfigError, Context

if TYPE_CHECKING:
    from harness.data.batches import JoinedBatches, ResidentBatches
    from harness.data.views import Dataset
    from harness.running.sources import EvaluationProtocol

Streams = Mapping[str, Mapping[str, np.ndarray]]
"""The views of a training by stream."""
MAIN = ""
FUTURE = "future"
CATEGORY = "category"
LABELLED = "labelled"
"""What ``row_weights`` calls the main stream."""


def views(protocol: EvaluationProtocol, dataset: Dataset, kind: type[Any], cell: Cell) -> Streams:
    """The views of training by stream: the protocol's ``TRAIN`` as ``""``, and those of its ``STREAMS`` of which the
    preset wants rows (``<stream>_batch_size``), with the fields that an oracle ``reveals``.

    Of ``TRAIN`` the preset's ``train_images`` keeps the first rows, ``conditional`` adds the category, and the method's
    ``supervision`` further fields. Raises ConfigError for more rows than there are, or fields that the data lack.
    """
    split, fields = protocol.TRAIN
    rows = _limit(cell, len(dataset.split(split)), split)
    labels: tuple[str, ...] = (CATEGORY,) if cell.config.get("conditional", False) else ()
    if labels and CATEGORY not in dataset.split(split).fields:
        raise ConfigError(
            f"{cell.data.name} has no {CATEGORY} to condition on",
            where=f"{cell.method}.conditional",
            remedy="Choose data with categories, such as folder/afhq.",
        )
    labels += _supervision(kind, cell, dataset.split(split))
    whole = dataset.split(split).view((*fields, *(name for name in labels if name not in fields)))
    found: dict[str, Mapping[str, np.ndarray]] = {MAIN: {name: whole[name][:rows] for name in whole} if rows else whole}
    for name, (other, shown) in getattr(protocol, "STREAMS", {}).items():
        if _rows(cell, name):
            revealed = tuple(field for field in getattr(kind, "reveals", ()) if field not in shown)
            found[name] = dataset.split(other).view((*shown, *revealed))
    return found


def facts(protocol: EvaluationProtocol, opened: Streams, dataset: Dataset) -> dict[str, str]:
    """What a stage's seal says about its data: splits, fields and content digests."""
    split = protocol.TRAIN[0]
    said = {"split": split, "fields": ",".join(opened[MAIN]), "data": dataset.split(split).digest}
    for name, view in opened.items():
        if name != MAIN:
            other = protocol.STREAMS[name][0]  # type: ignore[attr-defined]
            said[name] = f"{other}: {','.join(view)}: {dataset.split(other).digest}"
    return said


def samples(opened: Streams) -> Mapping[str, np.ndarray]:
    """Every array of the streams for ``prepare``, named as in a batch."""
    if set(opened) == {MAIN}:
        return opened[MAIN]
    return {_named(stream, field): view[field] for stream, view in opened.items() for field in view}


def batches(
    method: Any, opened: Streams, cell: Cell, context: Context, channels_last: bool
) -> ResidentBatches | JoinedBatches:
    """The source of batches for a method, each stream in an order of its own.

    Rows are weighted where the method has ``row_weights``; ``future_batches`` adds further streams, so that the current
    batch is the same for every method. Raises ConfigError for weights of a stream that is not read.
    """
    from harness.data.batches import JoinedBatches, ResidentBatches

    weights = getattr(method, "row_weights", {})
    ahead = int(getattr(method, "future_batches", 0))
    strangers = sorted(set(weights) - {name or LABELLED for name in opened})
    if strangers:
        raise ConfigError(
            f"row_weights of '{strangers[0]}', which is not read",
            where=cell.method,
            nearest=[name or LABELLED for name in opened],
        )

    def stream(name: str, purpose: str, times: int) -> ResidentBatches:
        view = opened[name]
        labels = {field: view[field] for field in view if field != "image"}
        return ResidentBatches(
            view["image"],
            times * (_rows(cell, name) if name else context.batch_size),
            devices.generator(cell.seed, purpose),
            context.device,
            channels_last,
            labels=labels,
            groups=labels.get(getattr(method, "batch_groups", "")) if name == MAIN else None,
            weights=weights.get(name or LABELLED),
        )

    made = {name: stream(name, _named("data", name) if name else "data", 1) for name in opened}
    if set(made) == {MAIN} and not ahead:
        return made[MAIN]
    if ahead:
        made |= {_named(FUTURE, name): stream(name, _named("data", _named(FUTURE, name)), ahead) for name in opened}
    return JoinedBatches(made)


def _supervision(kind: type[Any], cell: Cell, split: Any) -> tuple[str, ...]:
    """Fields of ground truth that the method, and the one it is plugged into, learn from with this configuration."""
    host = registry.base_of(cell)
    kinds = [kind] if host is None else [kind, registry.load(str(host.folder))]
    named = (name for one in kinds if hasattr(one, "supervision") for name in one.supervision(cell.config))
    wanted = tuple(dict.fromkeys(named))
    missing = sorted(set(wanted) - set(split.fields)) if wanted else []
    if missing:
        raise ConfigError(
            f"{cell.data.name} has no {', '.join(missing)} to learn from",
            where=cell.method,
            remedy="Choose data with exact labels, such as objects/head, or a variant that needs none.",
        )
    return wanted


def _limit(cell: Cell, rows: int, split: str) -> int:
    """The first rows of the training split that the preset keeps; 0 for all."""
    wanted, where = cell.config.get("train_images", 0), f"{cell.method}.train_images"
    if not isinstance(wanted, int) or isinstance(wanted, bool) or wanted < 0:
        raise ConfigError(f"{wanted!r} must be a whole number, 0 for all images", where=where)
    if wanted > rows:
        raise ConfigError(
            f"{wanted} images are asked for, and split {split} has {rows}", where=where, remedy="Write 0 for all."
        )
    return wanted


def _rows(cell: Cell, stream: str) -> int:
    """Rows of a further stream in a batch; 0 where the preset has no such key."""
    rows = cell.config.get(f"{stream}_batch_size", 0)
    if not isinstance(rows, int) or isinstance(rows, bool) or rows < 0:
        raise ConfigError(f"{stream}_batch_size must be a whole number from 0 on, got {rows!r}", where=cell.method)
    return rows


def _named(prefix: str, name: str) -> str:
    return "_".join(part for part in (prefix, name) if part)
