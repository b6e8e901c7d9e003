"""The queue in SQL: its order, counts, limits, and who changed them."""
