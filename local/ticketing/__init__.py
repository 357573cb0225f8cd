"""The sample ticketing platform."""
