"""Follow one attempt to its end."""
