"""Exports: datasets, masking and the files people download."""
