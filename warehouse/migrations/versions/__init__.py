"""Revisions of the warehouse's tables."""
