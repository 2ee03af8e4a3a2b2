"""Linear bijections of vectors: reorderings, and a dense matrix kept as its LU factors."""

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
            raise ValueError(f"order must hold each of 0..{order.numel() - 1} once, got {order}")
        self.register_buffer("order", order)
        self.register_buffer("back", order.argsort())

    def forward(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return z.index_select(1, self.order), z.new_zeros(z.shape[0])

    def inverse(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return x.index_select(1, self.back), x.new_zeros(x.shape[0])


class Flip(Bijection):
    """x = z with its elements in reverse order: between the layers of MAF and MintNet.

    Of images all three dimensions are reversed, which is raster order from its end.
    """

    def forward(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return z.flip(list(range(1, z.ndim))), z.new_zeros(z.shape[0])

    def inverse(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self.forward(x)


class LULinear(Bijection):
    """z = L U x + b, with L unit lower and U upper triangular, U's diagonal positive.

    Starts at the identity. The density direction multiplies, sampling solves two triangular
    systems; the log-det is the sum of U's log-diagonal. Vectors (B, D) only.
    Reference: Neural spline flows (Durkan, Bekasov, Murray, Papamakarios, 2019), arXiv:1906.04032.
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        self.lower = nn.Parameter(torch.zeros(features, features))
        self.upper = nn.Parameter(torch.zeros(features, features))
        self.log_diagonal = nn.Parameter(torch.zeros(features))
        self.bias = nn.Parameter(torch.zeros(features))

    def forward(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        lower, upper = self._factors()
        column = (z - self.bias).t()
        column = torch.linalg.solve_triangular(lower, column, upper=False, unitriangular=True)
        x = torch.linalg.solve_triangular(upper, column, upper=True).t()
        return x, -self.log_diagonal.sum().expand(z.shape[0])

    def inverse(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        lower, upper = self._factors()
        with full_precision(x):
            # One (D, D) product first: cheaper than a second pass over the batch unless B < D.
            z = F.linear(x, lower @ upper, self.bias)
        return z, self.log_diagonal.sum().expand(x.shape[0])

    def _factors(self) -> tuple[Tensor, Tensor]:
        identity = torch.eye(self.bias.numel(), dtype=self.bias.dtype, device=self.bias.device)
        upper = self.upper.triu(1) + torch.diag(self.log_diagonal.exp())
        return self.lower.tril(-1) + identity, upper


def full_precision(x: Tensor) -> AbstractContextManager[object]:
    """Products of data in the data's own precision: half of it is for nets."""
    mixed = torch.is_autocast_enabled(x.device.type)
    return torch.autocast(x.device.type, enabled=False) if mixed else nullcontext()
