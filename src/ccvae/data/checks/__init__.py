"""Looking data over before training."""
