"""The full-size family: the public GenCeption checkpoints, their VAE, prompts and engines."""
