"""The model: its distributions, its bound, and the actions of a trained model."""
