"""What runs beside the user's code. Standard library only; imports nothing else of ours."""
