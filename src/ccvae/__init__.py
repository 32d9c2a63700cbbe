"""ccvae."""
