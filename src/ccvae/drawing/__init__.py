"""Image grids, plots and HTML pages; knows no models."""
