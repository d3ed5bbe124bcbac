"""Scores of maps against ground truth: arrays in, numbers out."""
