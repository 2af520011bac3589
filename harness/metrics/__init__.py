"""Exact metrics: pure functions and streaming accumulators, one file per family."""
