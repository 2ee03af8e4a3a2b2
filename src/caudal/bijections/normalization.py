"""Layers whose statistics come from data: Standardise, ActNorm, BatchNorm, whitening."""

import math
from abc import abstractmethod
from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from caudal.bijection import Bijection
from caudal.bijections.linear import ChannelMixing, full_precision
from caudal.numerics import ENOUGH, batch_moments, is_second_pass, shrunk
from caudal.weights import effective_share

_RIDGE = 1e-6  # share of the mean variance: keeps directions without variance finite
_LEAST = 1e-4  # of that: directions with less are not blown up further where a map is trained
_PIECE = 4096  # rows in float64 at a time


class DataDependent(Bijection):
    """A bijection with statistics from data, set by `caudal.initialize` and `calibrate`."""

    @property
    def settled(self) -> bool:
        """Whether its statistics are final, so that `observe` would do nothing."""
        return False

    @abstractmethod
    def observe(
        self, x: Tensor, context: Tensor | None = None, weights: Tensor | None = None
    ) -> None:
        """Sets the statistics from data-side inputs x (B, *event), ideally many rows.

        `context` is that of the rows, as the flow embeds it; `weights` (B,), whose mean is 1, say
        how much each row counts, where they do not all count the same.
        """


def _moments(x: Tensor, weights: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each channel (dimension 1), float64 of shape (C, 1, ...).

    In float32, channels with a large mean and a small spread would lose the spread. A channel that
    is constant to within the precision of x has deviation 1: it is left alone.
    """
    dims = [0, *range(2, x.ndim)]
    std, mean = weighted_std_mean(x.double(), weights, dims)
    info = torch.finfo(x.dtype)
    told_apart = std[0] > info.eps * mean[0].abs() + info.tiny
    return mean[0], torch.where(told_apart, std[0], 1.0)


def weighted_std_mean(
    x: Tensor, weights: Tensor | None, dims: Sequence[int] = (0,)
) -> tuple[Tensor, Tensor]:
    """Deviation and mean of x (B, ...) over some dimensions, which are kept with length 1.

    `weights` (B,) have a mean of 1; None where all rows count the same.
    """
    over = list(dims)
    if weights is None:
        return torch.std_mean(x, over, correction=0, keepdim=True)
    weights = weights.to(x).view(-1, *[1] * (x.ndim - 1))
    mean = (weights * x).mean(over, keepdim=True)
    return (weights * (x - mean).square()).mean(over, keepdim=True).sqrt(), mean


def _per_row(log_slope: Tensor, x: Tensor) -> Tensor:
    """The log-det of a map with one log-slope a channel, (C, 1, ...): (B,)."""
    return (log_slope.sum() * math.prod(x.shape[2:])).expand(x.shape[0])


class Standardise(DataDependent):
    """z = (x - mean) / std of each column, fixed once fitted; not trained.

    The log-det keeps the density in the units of x.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, event_shape: Sequence[int]) -> None:
        super().__init__()
        shape = (event_shape[0], *[1] * (len(event_shape) - 1))
        self.register_buffer("mean", torch.zeros(shape))
        self.register_buffer("std", torch.ones(shape))

    def extra_repr(self) -> str:
        return f"{len(self.mean)} channels"

    def forward(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return torch.addcmul(self.mean, z, self.std), _per_row(self.std.log(), z)

    def inverse(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return (x - self.mean) / self.std, _per_row(-self.std.log(), x)

    @torch.no_grad()
    def observe(
        self, x: Tensor, context: Tensor | None = None, weights: Tensor | None = None
    ) -> None:
        mean, std = _moments(x, weights)
        self.mean.copy_(mean)
        self.std.copy_(std)


class ActNorm(DataDependent):
    """z = (x - mean) exp(-3 l) of each channel: trained, after a start from data.

    The factor 3 lets scales learn three times as fast as other weights, which images need: some of
    their pixels are a thousand times sharper than others. The first call of `observe` gives the
    data it sees mean 0 and deviation 1; later calls do nothing. A buffer saved with the weights
    records that call, so a reload does not undo training.
    Reference: Glow (Kingma, Dhariwal, 2018), arXiv:1807.03039, in the form of its released code.
    """

    initialized: Tensor

    def __init__(self, event_shape: Sequence[int]) -> None:
        super().__init__()
        shape = (event_shape[0], *[1] * (len(event_shape) - 1))
        self.mean = nn.Parameter(torch.zeros(shape))
        self.third_of_log_std = nn.Parameter(torch.zeros(shape))
        self.register_buffer("initialized", torch.tensor(False))

    def extra_repr(self) -> str:
        return f"{len(self.mean)} channels"

    @property
    def settled(self) -> bool:
        return bool(self.initialized)

    def forward(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        log_std = 3 * self.third_of_log_std
        return torch.addcmul(self.mean, z, log_std.exp()), _per_row(log_std, z)

    def inverse(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        minus_log_std = -3 * self.third_of_log_std
        return (x - self.mean) * minus_log_std.exp(), _per_row(minus_log_std, x)

    @torch.no_grad()
    def observe(
        self, x: Tensor, context: Tensor | None = None, weights: Tensor | None = None
    ) -> None:
        if self.settled:
            return
        mean, std = _moments(x, weights)
        self.mean.copy_(mean)
        self.third_of_log_std.copy_(std.log() / 3)
        self.initialized.fill_(True)


class BatchNorm(DataDependent):
    """z = exp(log_gamma) (x - m) / sqrt(v + eps) + beta, m and v the moments of each channel.

    In training m and v are those of the batch. In evaluation they are fixed, so that log p(x) does
    not depend on the other rows: `caudal.calibrate` sets them to the moments of the whole training
    set (MAF's rule), in which each row counts once, as in a batch, and until then they are
    running averages. Sampling needs evaluation mode.
    Reference: MAF (Papamakarios, Pavlakou, Murray, 2017), arXiv:1705.07057.
    """

    mean: Tensor
    var: Tensor

    def __init__(self, event_shape: Sequence[int], eps: float = 1e-5) -> None:
        super().__init__()
        shape = (event_shape[0], *[1] * (len(event_shape) - 1))
        self.eps = eps
        self.log_gamma = nn.Parameter(torch.zeros(shape))
        self.beta = nn.Parameter(torch.zeros(shape))
        self.register_buffer("mean", torch.zeros(shape))
        self.register_buffer("var", torch.ones(shape))

    def extra_repr(self) -> str:
        return f"{len(self.mean)} channels, eps={self.eps}"

    def forward(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        if self.training:
            raise RuntimeError("BatchNorm samples in evaluation mode only: call flow.eval()")
        log_slope = self.log_gamma - 0.5 * (self.var + self.eps).log()
        x = (z - self.beta) * (-log_slope).exp() + self.mean
        return x, _per_row(-log_slope, z)

    def inverse(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        mean, var = self._batch_moments(x) if self.training else (self.mean, self.var)
        log_slope = self.log_gamma - 0.5 * (var + self.eps).log()
        return torch.addcmul(self.beta, x - mean, log_slope.exp()), _per_row(log_slope, x)

    @torch.no_grad()
    def observe(
        self, x: Tensor, context: Tensor | None = None, weights: Tensor | None = None
    ) -> None:
        var, mean = torch.var_mean(x.double(), [0, *range(2, x.ndim)], correction=0, keepdim=True)
        self.mean.copy_(mean[0])
        self.var.copy_(var[0])

    def _batch_moments(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mean, var = batch_moments(x)
        if is_second_pass():  # which has counted this batch before
            return mean, var
        with torch.no_grad():
            self.mean.lerp_(mean, 0.1)
            self.var.lerp_(var, 0.1)
        return mean, var


class ZCA(DataDependent):
    """z = V (x - mean) with V = covariance^(-1/2), symmetric, fixed once fitted; vectors (D,).

    ZCA changes the data least among all maps that whiten them. With a normal base it makes a flow
    that has not learned yet the Gaussian of highest likelihood. With fewer than ten rows a feature
    the covariance is moved towards its diagonal (OAS), as directions in which so few rows happen
    not to vary would be blown up.
    Reference: the pre-processing of NICE's CIFAR-10 and SVHN models (Dinh, Krueger, Bengio,
    2014), arXiv:1410.8516; here the log-det is part of the density.

    Raises:
        ValueError: there are too many features for a D x D covariance.
    """

    most = 4096
    """Features at most, of which three matrices are 200 MB; 32x32 RGB has 3072."""
    mean: Tensor
    whiten: Tensor
    colour: Tensor
    log_det: Tensor

    def __init__(self, features: int) -> None:
        super().__init__()
        if features > self.most:
            raise ValueError(
                f"whitening {features} numbers takes a {features}x{features} covariance: at most "
                f"{self.most} are whitened, take smaller images or other `pixels`"
            )
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("whiten", torch.eye(features))
        self.register_buffer("colour", torch.eye(features))
        self.register_buffer("log_det", torch.zeros(()))

    def extra_repr(self) -> str:
        return f"{self.mean.numel()} features"

    def forward(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        with full_precision(z):
            return F.linear(z, self.colour, self.mean), -self.log_det.expand(z.shape[0])

    def inverse(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        with full_precision(x):
            return F.linear(x - self.mean, self.whiten), self.log_det.expand(x.shape[0])

    @torch.no_grad()
    def observe(
        self, x: Tensor, context: Tensor | None = None, weights: Tensor | None = None
    ) -> None:
        each = x.new_ones(len(x), 1) if weights is None else weights.to(x)[:, None]
        mean = (x if weights is None else each * x).mean(0, dtype=torch.float64)
        products = x.new_zeros(x.shape[1], x.shape[1], dtype=torch.float64)
        for rows, weight in zip(x.split(_PIECE), each.split(_PIECE), strict=True):
            centred = rows.double() - mean
            products.addmm_((weight * centred).T, centred)
        covariance = products / len(x)
        counted = len(x) if weights is None else len(x) * effective_share(each.flatten().log())
        if counted < ENOUGH * x.shape[1]:
            covariance = shrunk(covariance, counted)[0]
        variances, directions = torch.linalg.eigh(covariance)
        variances = variances.clamp(min=0) + _RIDGE * variances.mean().clamp(min=_RIDGE)
        self.mean.copy_(mean)
        self.whiten.copy_(directions * variances.rsqrt() @ directions.T)
        self.colour.copy_(directions * variances.sqrt() @ directions.T)
        self.log_det.copy_(-0.5 * variances.log().sum())


class Decorrelate(ChannelMixing, DataDependent):
    """z = W x at each position of x (B, C, *rest): trained, after a start from data.

    The first call of `observe` takes the covariance S of the channels, over rows and positions
    together, and sets W = S^(-1/2), which changes the data least among all maps that whiten them
    (see `ZCA`); later calls do nothing. Between layers over the patches of an image it takes what
    neighbouring pixels have in common, which such layers learn late.
    """

    initialized: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.matrix = nn.Parameter(torch.eye(channels))
        self.register_buffer("initialized", torch.tensor(False))

    @property
    def settled(self) -> bool:
        return bool(self.initialized)

    def weight(self) -> Tensor:
        return self.matrix

    def log_abs_det(self) -> Tensor:
        return torch.linalg.slogdet(self.matrix)[1]

    @torch.no_grad()
    def observe(
        self, x: Tensor, context: Tensor | None = None, weights: Tensor | None = None
    ) -> None:
        if self.settled:
            return
        rows = x.movedim(1, -1).flatten(0, -2).double()
        each = rows.new_ones(len(rows), 1)
        if weights is not None:
            each = weights.to(rows).repeat_interleave(len(rows) // len(x))[:, None]
        rows = rows - (each * rows).mean(0)
        variances, directions = torch.linalg.eigh(rows.T @ (each * rows) / len(rows))
        variances = variances.clamp(min=_LEAST * float(variances.mean().clamp(min=_RIDGE)))
        self.matrix.copy_(directions * variances.rsqrt() @ directions.T)
        self.initialized.fill_(True)
