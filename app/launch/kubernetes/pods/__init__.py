"""Pods as values: what is made for an attempt, and what the cluster says of it."""
