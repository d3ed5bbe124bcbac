"""A list of samples on disk: checked, loaded, run, recorded."""
