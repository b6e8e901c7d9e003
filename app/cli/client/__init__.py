"""How the command talks to a service: requests, streams, and what it sends. No terminal."""
