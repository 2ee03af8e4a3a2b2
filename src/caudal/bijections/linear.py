"""Linear bijections: reorderings, a dense matrix as LU factors, invertible 1x1 convolution."""

import math
from abc import abstractmethod
from contextlib import AbstractContextManager, nullcontext

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from caudal.bijection import Bijection


class Permutation(Bijection):
    """x = z[:, order]: a fixed reordering of dimension 1; the log-det is zero."""

    order: Tensor
    back: Tensor

    def __init__(self, order: Tensor) -> None:
        super().__init__()
        if not torch.equal(order.sort().values, torch.arange(order.numel())):
            raise ValueError(f"`order` must hold each of 0..{order.numel() - 1} once, got {order}")
        self.register_buffer("order", order)
        self.register_buffer("back", order.argsort())

    def extra_repr(self) -> str:
        return f"{self.order.numel()} channels"

    def forward(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return z.index_select(1, self.order), z.new_zeros(z.shape[0])

    def inverse(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return x.index_select(1, self.back), x.new_zeros(x.shape[0])


class Flip(Bijection):
    """x = z with its elements in reverse order, for use between the layers of MAF and MintNet.

    All three dimensions of an image are reversed, which is raster order from its end.
    """

    def forward(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return z.flip(list(range(1, z.ndim))), z.new_zeros(z.shape[0])

    def inverse(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self.forward(x)


class LULinear(Bijection):
    """z = L U x + b, with L unit lower and U upper triangular, U's diagonal positive.

    It starts at the identity. The density direction multiplies, sampling solves two triangular
    systems; the log-det is the sum of U's log-diagonal. For vectors (B, D) only.
    Reference: Neural spline flows (Durkan, Bekasov, Murray, Papamakarios, 2019), arXiv:1906.04032.
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        self.lower = nn.Parameter(torch.zeros(features, features))
        self.upper = nn.Parameter(torch.zeros(features, features))
        self.log_diagonal = nn.Parameter(torch.zeros(features))
        self.bias = nn.Parameter(torch.zeros(features))

    def extra_repr(self) -> str:
        return f"{self.bias.numel()} features"

    def forward(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        lower, upper = self._factors()
        column = (z - self.bias).t()
        column = torch.linalg.solve_triangular(lower, column, upper=False, unitriangular=True)
        x = torch.linalg.solve_triangular(upper, column, upper=True).t()
        return x, -self.log_diagonal.sum().expand(z.shape[0])

    def inverse(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        lower, upper = self._factors()
        with full_precision(x):
            # The (D, D) product comes first: cheaper than a second pass over the batch if B > D.
            z = F.linear(x, lower @ upper, self.bias)
        return z, self.log_diagonal.sum().expand(x.shape[0])

    def _factors(self) -> tuple[Tensor, Tensor]:
        identity = torch.eye(self.bias.numel(), dtype=self.bias.dtype, device=self.bias.device)
        upper = self.upper.triu(1) + torch.diag(self.log_diagonal.exp())
        return self.lower.tril(-1) + identity, upper


def full_precision(x: Tensor) -> AbstractContextManager[object]:
    """Within this context, products keep the precision of the data: half precision is for nets."""
    mixed = torch.is_autocast_enabled(x.device.type)
    return torch.autocast(x.device.type, enabled=False) if mixed else nullcontext()


class ChannelMixing(Bijection):
    """z = W x at each position of x (B, C, *rest); log|det dz/dx| = positions log|det W|.

    It mixes the channels, in the same way at every position: an invertible 1x1 convolution.
    Reference: Glow (Kingma, Dhariwal, 2018), arXiv:1807.03039.
    """

    def extra_repr(self) -> str:
        return f"{len(self.weight())} channels"

    @abstractmethod
    def weight(self) -> Tensor:
        """W, (C, C)."""

    @abstractmethod
    def log_abs_det(self) -> Tensor:
        """log|det W|, a scalar."""

    def forward(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        with full_precision(z):
            return _mix(z, torch.linalg.inv(self.weight())), -self._log_det(z)

    def inverse(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        with full_precision(x):
            return _mix(x, self.weight()), self._log_det(x)

    def _log_det(self, value: Tensor) -> Tensor:
        return (self.log_abs_det() * math.prod(value.shape[2:])).expand(value.shape[0])


class Conv1x1(ChannelMixing):
    """W itself is the parameter; it starts as a random rotation."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.matrix = nn.Parameter(_rotation(channels))

    def weight(self) -> Tensor:
        return self.matrix

    def log_abs_det(self) -> Tensor:
        return torch.linalg.slogdet(self.matrix)[1]


class LUConv1x1(ChannelMixing):
    """W = P L (U + diag(s)): L unit lower, U strictly upper triangular; P and s's signs fixed.

    W starts as a random rotation. It cannot become singular, and its log-det is sum(log|s|).
    """

    permutation: Tensor
    sign: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        permutation, lower, upper = torch.linalg.lu(_rotation(channels))
        diagonal = upper.diagonal()
        self.register_buffer("permutation", permutation)
        self.register_buffer("sign", diagonal.sign())
        self.lower = nn.Parameter(lower.tril(-1))
        self.upper = nn.Parameter(upper.triu(1))
        self.log_scale = nn.Parameter(diagonal.abs().log())

    def weight(self) -> Tensor:
        identity = torch.eye(len(self.sign), dtype=self.sign.dtype, device=self.sign.device)
        lower = self.lower.tril(-1) + identity
        upper = self.upper.triu(1) + torch.diag(self.sign * self.log_scale.exp())
        return self.permutation @ lower @ upper

    def log_abs_det(self) -> Tensor:
        return self.log_scale.sum()


def _mix(value: Tensor, matrix: Tensor) -> Tensor:
    return F.linear(value.movedim(1, -1), matrix).movedim(-1, 1)


def _rotation(channels: int) -> Tensor:
    return torch.linalg.qr(torch.randn(channels, channels))[0]
