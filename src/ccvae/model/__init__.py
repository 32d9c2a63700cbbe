"""The model: its distributions, its bound, and what can be done with a trained one."""
