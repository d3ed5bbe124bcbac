"""A list of samples on disk: plan it, load the model, run it, record results."""
