"""Mean teacher for segmentation as a method of the harness."""

from __future__ import annotations

from methods.blocks.self_training import SelfTraining


class MeanTeacher(SelfTraining):
    """All pixels of unmixed images, labelled by the average of the student (Tarvainen and Valpola, 2017)."""
