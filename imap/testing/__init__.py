"""Inputs of tests and examples: tiny pipelines with random weights, and planted attention."""
