"""Invertible 1x1 convolution: a learned mixing of the channels, the same at every position."""

import math
from abc import abstractmethod

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from caudal.bijection import Bijection
from caudal.bijections.linear import full_precision


class ChannelMixing(Bijection):
    """z = W x at each position, for x (B, C, *rest); log|det dz/dx| = positions log|det W|.

    Reference: Glow (Kingma, Dhariwal, 2018), arXiv:1807.03039.
    """

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
    """W itself is learned; it starts as a random rotation."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.matrix = nn.Parameter(_rotation(channels))

    def weight(self) -> Tensor:
        return self.matrix

    def log_abs_det(self) -> Tensor:
        return torch.linalg.slogdet(self.matrix)[1]


class LUConv1x1(ChannelMixing):
    """W = P L (U + diag(s)): L unit lower, U strictly upper triangular; P and s's signs fixed.

    Starts as a random rotation. It cannot become singular, and its log-det is sum(log|s|).
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
