"""Use cases on one run."""
