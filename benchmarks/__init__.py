"""Measurements: of time, works take turns in one process (lambda_2 has one for each size); each peak of memory has a
process of its own. GPU.md lists those that wait for a GPU.
"""
