"""The embedded world: clips with exact ground truth."""
