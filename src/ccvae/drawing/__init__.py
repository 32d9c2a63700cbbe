"""Image grids, plots and HTML, without any knowledge of models."""
