"""The endpoints of the read API."""
