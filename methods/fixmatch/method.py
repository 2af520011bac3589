"""FixMatch for segmentation as a method of the harness."""

from __future__ import annotations

from methods.blocks.self_training import SelfTraining


class FixMatch(SelfTraining):
    """The student labels images as they are and learns its confident pixels strongly augmented (Sohn et al., 2020)."""
