"""What exists: the assets and their statements."""
