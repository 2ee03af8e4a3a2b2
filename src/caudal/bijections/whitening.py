"""ZCA whitening as a fixed layer, its log-det in the density."""

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from caudal.bijections.linear import full_precision
from caudal.bijections.normalization import DataDependent

_RIDGE = 1e-6  # of the mean variance: directions in which the data hardly vary stay finite
_MOST = 4096  # features, of which three matrices are 200 MB; 32x32 RGB has 3072
_PIECE = 4096  # rows in float64 at a time


class ZCA(DataDependent):
    """z = V (x - mean) with V = covariance^(-1/2), symmetric, fixed once fitted; vectors (D,).

    Of all maps that make the data white it is the one that changes them least. It wants several
    times as many rows as features: where fewer give the covariance, directions that they happen
    not to vary in are blown up.
    Reference: the pre-processing of NICE's CIFAR-10 and SVHN models (Dinh, Krueger, Bengio,
    2014), arXiv:1410.8516; here the log-det is part of the density.

    Raises:
        ValueError: more features than a D x D covariance is sensible for.
    """

    mean: Tensor
    whiten: Tensor
    colour: Tensor
    log_det: Tensor

    def __init__(self, features: int) -> None:
        super().__init__()
        if features > _MOST:
            raise ValueError(
                f"whitening {features} numbers takes a {features}x{features} covariance: at most "
                f"{_MOST} are whitened, take smaller images or leave --whiten out"
            )
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
        mean = x.mean(0, dtype=torch.float64)
        products = x.new_zeros(x.shape[1], x.shape[1], dtype=torch.float64)
        for rows in x.split(_PIECE):
            centred = rows.double() - mean
            products.addmm_(centred.T, centred)
        variances, directions = torch.linalg.eigh(products / len(x))
        variances = variances.clamp(min=0) + _RIDGE * variances.mean().clamp(min=_RIDGE)
        self.mean.copy_(mean)
        self.whiten.copy_(directions * variances.rsqrt() @ directions.T)
        self.colour.copy_(directions * variances.sqrt() @ directions.T)
        self.log_det.copy_(-0.5 * variances.log().sum())
