"""Data sets as they are laid out on disk, one module each."""
