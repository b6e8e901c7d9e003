"""What is stored of runs: their rows, questions, input, secrets and leases."""
