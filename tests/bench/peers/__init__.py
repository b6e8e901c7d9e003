"""The small applications that Podwire is measured against, written as the documentation of their libraries shows."""
