"""The quantile function of the standard Normal in plain operations, for graphs whose runtime does not have it."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["normal_quantile"]

CENTER = (3.3871328727963666080, 133.14166789178437745, 1971.5909503065514427, 13731.693765509461125,
          45921.953931549871457, 67265.770927008700853, 33430.575583588128105, 2509.0809287301226727)  # fmt: skip
CENTER_BELOW = (1.0, 42.313330701600911252, 687.18700749205790830, 5394.1960214247511077,
                21213.794301586595867, 39307.895800092710610, 28729.085735721942674, 5226.4952788528545610)  # fmt: skip
MIDDLE = (1.42343711074968357734, 4.63033784615654529590, 5.76949722146069140550, 3.64784832476320460504,
          1.27045825245236838258, 0.241780725177450611770, 0.0227238449892691845833, 7.74545014278341407640e-4)  # fmt: skip
MIDDLE_BELOW = (1.0, 2.05319162663775882187, 1.67638483018380384940, 0.689767334985100004550,
                0.148103976427480074590, 0.0151986665636164571966, 5.47593808499534494600e-4,
                1.05075007164441684324e-9)  # fmt: skip
TAIL = (6.65790464350110377720, 5.46378491116411436990, 1.78482653991729133580, 0.296560571828504891230,
        0.0265321895265761230930, 0.00124266094738807843860, 2.71155556874348757815e-5, 2.01033439929228813265e-7)  # fmt: skip
TAIL_BELOW = (1.0, 0.599832206555887937690, 0.136929880922735805310, 0.0148753612908506148525,
              7.86869131145613259100e-4, 1.84631831751005468180e-5, 1.42151175831644588870e-7,
              2.04426310338993978564e-15)  # fmt: skip


def normal_quantile(level: Tensor) -> Tensor:
    """Quantiles of the standard Normal at levels in (0, 1), of any shape: Wichura's algorithm AS 241 (1988).

    >>> normal_quantile(torch.tensor([0.025, 0.5, 0.975], dtype=torch.float64))
    tensor([-1.9600,  0.0000,  1.9600], dtype=torch.float64)
    """
    offset = level - 0.5
    r = 0.180625 - offset * offset
    center = offset * polynomial(CENTER, r) / polynomial(CENTER_BELOW, r)
    root = (-torch.minimum(level, 1 - level).clamp_min(torch.finfo(level.dtype).tiny).log()).sqrt()
    middle = polynomial(MIDDLE, root - 1.6) / polynomial(MIDDLE_BELOW, root - 1.6)
    tail = polynomial(TAIL, root - 5) / polynomial(TAIL_BELOW, root - 5)
    outer = torch.where(root <= 5, middle, tail) * offset.sign()
    return torch.where(offset.abs() <= 0.425, center, outer)


def polynomial(coefficients: tuple[float, ...], x: Tensor) -> Tensor:
    """A polynomial by Horner's rule, its constant first."""
    value = torch.full_like(x, coefficients[-1])
    for coefficient in coefficients[-2::-1]:
        value = value * x + coefficient
    return value
