"""The podwire command."""
