"""The independent classifier that judges edited images."""
