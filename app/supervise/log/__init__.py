"""Writing the log of a run, and archiving it."""
