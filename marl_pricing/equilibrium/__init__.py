"""Benchmarks: what sellers would charge if they knew the market."""
