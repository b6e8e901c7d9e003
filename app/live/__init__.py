"""Redis that may vanish at any moment."""
