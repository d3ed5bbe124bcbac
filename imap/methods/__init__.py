"""The method of the paper on tensors alone. `reference.py` is the whole of it, naive; docs/method.md explains it.

Axes, everywhere: h heads, f latent frames, p patches of a frame, n = f * p visual tokens, t text slots, d head width.
"""
