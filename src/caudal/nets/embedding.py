"""What a flow is conditioned on, made fit for a net."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn


class ColumnEmbedding(nn.Module):
    """Context columns (B, C) of a table to features (B, n_features).

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
        standard = (context - self.mean) / self.std
        features = []
        for i, levels in enumerate(self.levels):
            if levels:
                codes = context[:, i].long().clamp(0, levels - 1)
                features.append(F.one_hot(codes, levels).to(context.dtype))
            else:
                features.append(standard[:, i : i + 1])
        return torch.cat(features, 1)

    @torch.no_grad()
    def observe(self, context: Tensor) -> None:
        """Takes mean and standard deviation of every number."""
        std, mean = torch.std_mean(context.double(), 0, correction=0)
        self.mean.copy_(mean)
        self.std.copy_(torch.where(std > 0, std, 1.0))
