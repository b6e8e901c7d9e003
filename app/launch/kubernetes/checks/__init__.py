"""What `podwire doctor --cluster` looks at: rights, quotas, probe runs."""
