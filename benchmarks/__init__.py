"""Measurements of time and memory, and checks of whole families. GPU.md lists those that need a GPU.

Timed alternatives take turns in one process (lambda_2 starts one per size). Each memory peak is measured in a new
process.
"""
