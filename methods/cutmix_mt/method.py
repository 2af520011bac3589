"""Mean teacher with CutMix as a method of the harness."""

from __future__ import annotations

from methods.blocks.self_training import SelfTraining


class CutMixMeanTeacher(SelfTraining):
    """All pixels of images mixed by rectangles, labelled by the average of the student (French et al., 2020)."""
