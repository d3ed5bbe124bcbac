"""A composed configuration becomes frozen, checked dataclasses here, and nowhere else."""
