"""Whether a value fits a form's schema, found out in a child process that can be stopped by time and memory."""
