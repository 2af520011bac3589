"""Frozen feature networks: trained by the harness on a procedural task, or published ones from a local file."""

from harness.backbones.backbone import Backbone
from harness.backbones.opening import open_backbone

__all__ = ["Backbone", "open_backbone"]
