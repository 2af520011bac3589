"""Self-training that takes as many steps on a batch as FST does: a control."""

from __future__ import annotations

from methods.blocks.self_training import SelfTraining


class RepeatedSteps(SelfTraining):
    """Self-training with ``repeats`` updates of student and teacher on every batch; FST makes K + 1 steps."""
