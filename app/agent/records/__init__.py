"""What the agent writes: records, their one form, and the spool that keeps them."""
