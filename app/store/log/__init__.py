"""The archive of the runs' logs."""
