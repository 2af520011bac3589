"""Training on the labelled stream alone: source-only in domain adaptation, the floor of the other methods."""

from __future__ import annotations

from methods.blocks.segmenter import Segmenter


class Supervised(Segmenter):
    """Cross entropy on labelled images; the unlabelled ones are never seen."""
