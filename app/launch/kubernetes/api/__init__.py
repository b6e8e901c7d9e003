"""The Kubernetes API as this service uses it."""
