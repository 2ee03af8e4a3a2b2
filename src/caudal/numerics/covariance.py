"""Covariances of few rows, moved towards their diagonal."""

import torch
from torch import Tensor

ENOUGH = 10
"""Rows for each element, from which on likelihood alone finds a covariance."""


def shrunk(cov: Tensor, n: float) -> tuple[Tensor, float]:
    """A covariance of n rows moved towards its diagonal, and how far: the OAS estimate.

    Correlations are shrunk, so that elements of small variance keep it.
    Reference: Shrinkage algorithms for MMSE covariance estimation (Chen, Wiesel, Eldar, Hero,
    2010), arXiv:0907.4698.
    """
    std = cov.diagonal().clamp(min=torch.finfo(cov.dtype).tiny).sqrt()
    square = float((cov / std / std[:, None]).square().mean())
    share = min(1.0, (square + 1) / ((n + 1) * (square - 1 / len(cov)) + 1e-12))
    return cov * (1 - share) + share * cov.diagonal().diag(), share
