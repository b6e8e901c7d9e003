"""Celery: the application and its tasks, three lines each."""
