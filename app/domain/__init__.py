"""What is true: values, rules and ports. No I/O, no clock, no framework."""
