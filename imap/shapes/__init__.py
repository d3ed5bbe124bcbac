"""A small world with exact ground truth: what is where in a clip, and when it moves."""
