"""What ties each kind of label to its block of latents."""
