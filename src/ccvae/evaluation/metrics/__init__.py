"""One module for each family of metrics."""
