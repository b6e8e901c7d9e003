"""SQL that must not be lost."""
