"""Benchmarks: what is promised in figures, measured on the real daemon beside the bare networks' time in the same run."""
