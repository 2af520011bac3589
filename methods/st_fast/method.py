"""Self-training whose teacher moves as often as that of FST: a control."""

from __future__ import annotations

from methods.blocks.self_training import SelfTraining


class FastTeacher(SelfTraining):
    """Self-training with ``teacher_speed`` updates of the teacher per step; FST makes K + 1 of them."""
