"""The commands of `podwire`, one a module. Only the module of the command that was called is loaded."""
