"""What the pipeline talks to."""
