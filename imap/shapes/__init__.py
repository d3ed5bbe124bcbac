"""The embedded world: small clips and models with exact ground truth of what is where, and when it moves."""
