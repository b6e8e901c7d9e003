"""Runs the tests of one part, of some files, or of all: suites side by side in stages, and one sum at the end.

scripts/test calls it. Nothing here is imported by tests, except by those of the runner itself.
"""
