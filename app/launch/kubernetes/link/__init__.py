"""The connection to the agent in a pod: an exec, its frames, its states."""
