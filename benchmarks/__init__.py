"""Measurements, each a ratio of runs that alternate in one process. GPU.md lists those that wait for a GPU."""
