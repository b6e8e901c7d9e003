"""Benchmarks, started by `scripts/bench`; pytest collects nothing here, and nothing passes or fails."""
