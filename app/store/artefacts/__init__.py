"""What runs left to be kept: rows in SQL, files in the storage."""
