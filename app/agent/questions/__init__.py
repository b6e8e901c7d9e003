"""Questions of the running program: the files they come in, and how they are read."""
