"""Runs over HTTP: the views, and the shapes of what clients send and receive."""
