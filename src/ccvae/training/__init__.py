"""Training: `fit`, the Lightning module and trainer, the optimizer, callbacks, and losses beside the bound."""
