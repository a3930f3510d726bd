"""Benchmarks, each run alone by one command; ratios are against a baseline of the same run."""
