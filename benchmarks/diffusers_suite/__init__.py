"""diffusers' own pipeline tests with a trace around every pipeline call. `__main__` is the command."""
