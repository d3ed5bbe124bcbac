"""Scenes, their drawing and their ground truth."""
