"""Use cases on the queue as a whole."""
