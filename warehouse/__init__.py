"""Finished and ops tables, their migrations and publication."""
