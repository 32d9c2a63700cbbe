"""Labels: their kinds, values and priors, and how a table of them becomes an array and back."""

from ccvae.labels.kinds import Binary, Categorical, Continuous, Label
from ccvae.labels.space import LabelSpace

__all__ = ["Binary", "Categorical", "Continuous", "Label", "LabelSpace"]
