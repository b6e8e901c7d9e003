"""Live output: WebSocket and server-sent events, their rules, connections and registry."""
