"""Features of angles that are smooth on the circle."""

import torch
from torch import Tensor

HARMONICS = 3
FEATURES = 2 * HARMONICS
"""How many features an angle has."""


def harmonics(angles: Tensor) -> Tensor:
    """The features cos(k a), sin(k a), k = 1 .. 3, of angles a: (B, D, ...) to (B, 6 D, ...).

    The features of one angle follow each other. They are smooth on the circle, and tell all of its
    points apart.
    Reference: Normalizing flows on tori and spheres (Rezende et al., 2020), arXiv:2002.02428.
    """
    turned = torch.stack([k * angles for k in range(1, HARMONICS + 1)], 2)  # (B, D, 3, ...)
    return torch.cat([turned.cos(), turned.sin()], 2).flatten(1, 2)
