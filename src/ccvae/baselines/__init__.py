"""Models to compare with: the same networks, the same training loop, other objectives."""
