"""The HTTP API: one module a resource, its shapes beside it."""
