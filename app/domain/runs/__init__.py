"""A run from its submission to its end: values and rules."""
