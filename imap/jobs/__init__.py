"""One sample, from words or a clip to maps."""
