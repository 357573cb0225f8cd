"""What runs on this machine only: the embedded servers and the sample ticketing platform."""
