"""Data sets: procedural families with exact ground truth and readers of published layouts."""
