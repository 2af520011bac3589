"""Stored cells scored once more from their kept predictions; nothing in the store changes."""

from __future__ import annotations

from pathlib import Path

import torch

from harness.running import devices
from harness.running.settings import RunSettings
from harness.running.sources import Registered, Sources
from harness.store import Store
from harness.store_files import load_array
from harness.types import Cell, Scores, StoreError


def rescore(cell: Cell, store: Store, settings: RunSettings, *, sources: Sources | None = None) -> Scores:
    """What the protocol of today says of the cell's stored predictions, on the CPU as in every run.

    Data sets and judges missing from ``settings.cache`` are built there. Raises StoreError where the stamp
    of the predictions is gone or they cannot be read, MissingAsset where published weights are absent.
    """
    known = sources or Registered()
    seal = store.seal(cell.key, "predict")
    if seal is None:
        raise StoreError(store.damage(cell.key, "predict"))
    folder = store.folder(cell.key)
    predictions = {Path(name).stem: load_array(folder / name) for name in seal.files}
    # The cap on threads reaches only libraries that are loaded by then, so the protocol comes first, as in a run.
    protocol = known.protocol(cell.protocol)
    dataset = known.dataset(cell.data, settings.cache, settings.data_workers, lambda split, done, total: None)
    with devices.configured(torch.device("cpu"), settings):
        scores: Scores = protocol.score(predictions, dataset, cell.settings, settings.judges, cell)
    return scores
