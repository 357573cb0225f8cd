"""The code location: what runs, when, and over which slice of time."""
