"""Scores of every map against the embedded world's ground truth."""
