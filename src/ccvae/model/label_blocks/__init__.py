"""Each kind of label with its block of latents: classifier, conditional prior and tilted posterior."""
