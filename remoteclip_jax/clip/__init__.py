"""CLIP with a ModifiedResNet image tower: both towers, tokenizer, preprocessing, prompts, and weights on disk.
`clip.inference` embeds images and texts; tests compare every part with open_clip."""
