"""Podwire: runs people's code in limited places, streams every byte, and carries questions and answers."""
