"""Batches for training and validation, on the device that trains."""
