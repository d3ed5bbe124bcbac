"""How the small models are trained: autoencoder, latents of the clips, denoiser, and the figures of merit."""
