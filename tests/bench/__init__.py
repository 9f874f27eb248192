"""Benchmarks: side by side in one run, reported as ratios; `make bench` writes their tables into ``docs/performance.md``."""
