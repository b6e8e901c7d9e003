"""The HTTP, WebSocket and page front end."""
