"""ZCA whitening as a fixed layer, its log-det in the density."""

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from caudal.bijections.linear import full_precision
from caudal.bijections.normalization import DataDependent

_RIDGE = 1e-6  # of the mean variance: directions in which the data hardly vary stay finite


class ZCA(DataDependent):
    """z = V (x - mean) with V = covariance^(-1/2), symmetric, fixed once fitted; vectors (D,).

    Of all maps that make the data white it is the one that changes them least.
    Reference: the pre-processing of NICE's CIFAR-10 and SVHN models (Dinh, Krueger, Bengio,
    2014), arXiv:1410.8516; here the log-det is part of the density.
    """

    mean: Tensor
    whiten: Tensor
    colour: Tensor
    log_det: Tensor

    def __init__(self, features: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("whiten", torch.eye(features))
        self.register_buffer("colour", torch.eye(features))
        self.register_buffer("log_det", torch.zeros(()))

    def forward(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        with full_precision(z):
            return F.linear(z, self.colour, self.mean), -self.log_det.expand(z.shape[0])

    def inverse(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        with full_precision(x):
            return F.linear(x - self.mean, self.whiten), self.log_det.expand(x.shape[0])

    @torch.no_grad()
    def observe(self, x: Tensor) -> None:
        rows = x.double()
        centred = rows - rows.mean(0)
        variances, directions = torch.linalg.eigh(centred.T @ centred / len(rows))
        variances = variances.clamp(min=0) + _RIDGE * variances.mean().clamp(min=_RIDGE)
        self.mean.copy_(rows.mean(0))
        self.whiten.copy_(directions * variances.rsqrt() @ directions.T)
        self.colour.copy_(directions * variances.sqrt() @ directions.T)
        self.log_det.copy_(-0.5 * variances.log().sum())
