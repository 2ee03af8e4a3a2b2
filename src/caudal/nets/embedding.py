"""What a flow is conditioned on, made fit for a net."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn


class Embedding(nn.Module, ABC):
    """Context as the user has it to `n_features` features a net can take."""

    n_features: int

    @abstractmethod
    def forward(self, context: Tensor) -> Tensor:
        """(B, C, ...) to (B, n_features, ...)."""

    @abstractmethod
    def observe(self, context: Tensor) -> None:
        """Takes what it needs to know from many rows; `caudal.initialize` calls this."""


class ColumnEmbedding(Embedding):
    """Columns (B, C), or (B, C, F) of frames, to features (B, n_features) or (B, n_features, F).

    `levels[i]` is the number of categories of column i, whose codes become one-hot; 0 means a
    number, which is standardised with the `mean` and `std` that `observe` took.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, levels: Sequence[int]) -> None:
        super().__init__()
        self.levels = tuple(levels)
        self.n_features = sum(max(n, 1) for n in levels)
        self.register_buffer("mean", torch.zeros(len(levels)))
        self.register_buffer("std", torch.ones(len(levels)))

    def forward(self, context: Tensor) -> Tensor:
        shape = (-1, *[1] * (context.ndim - 2))
        standard = (context - self.mean.view(shape)) / self.std.view(shape)
        features = []
        for i, levels in enumerate(self.levels):
            if levels:
                codes = context[:, i].long().clamp(0, levels - 1)
                features.append(F.one_hot(codes, levels).movedim(-1, 1).to(context.dtype))
            else:
                features.append(standard[:, i : i + 1])
        return torch.cat(features, 1)

    @torch.no_grad()
    def observe(self, context: Tensor) -> None:
        dims = [0, *range(2, context.ndim)]
        std, mean = torch.std_mean(context.double(), dims, correction=0)
        self.mean.copy_(mean)
        self.std.copy_(torch.where(std > 0, std, 1.0))
