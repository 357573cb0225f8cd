"""The read API: serves the finished tables over HTTP; it computes no metric."""
