"""Video files and clips."""
