"""Tables and the migrations that lead to them. No statement of a use case."""
