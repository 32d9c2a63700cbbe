"""Decoding image files, and the cache of decoded images."""
