"""What sets the pipeline in motion."""
