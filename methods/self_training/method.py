"""Self-training with a momentum teacher as a method of the harness: the base of FST."""

from __future__ import annotations

from methods.blocks.self_training import SelfTraining


class SelfTrainingBaseline(SelfTraining):
    """Class-mix, colour jitter, blur, labels weighed by the share of confident pixels (Tranheden et al., 2021)."""
