"""Benchmarks: ``bench.pipeline`` is the program, docs/benchmarks.md the result."""
