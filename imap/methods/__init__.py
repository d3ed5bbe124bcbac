"""The mathematics of METHOD on tensors alone: it knows no model, no file and no configuration.

Axes, everywhere: h heads, f latent frames, p patches of a frame, n = f * p visual tokens, t text slots, d head width.
"""
