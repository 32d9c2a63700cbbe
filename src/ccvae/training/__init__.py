"""Training: the loop, the optimizer, callbacks, and losses beside the bound."""
