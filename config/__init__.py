"""Configuration: the one reader of the environment, and what gunicorn, Celery and logging are told."""
