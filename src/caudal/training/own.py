"""A module of a user's own in the place of a flow, for `fit`: what its loss says is minimised."""

from functools import wraps
from typing import Any

import torch
from torch import Tensor, nn

from caudal.base import Normal
from caudal.bijection import Chain
from caudal.errors import InputError
from caudal.flow import Flow
from caudal.losses import nll
from caudal.training.engine import Loss


class Own(Flow):
    """A flow in name: training asks it for its weights, its device and its precision alone.

    The rows are taken as they are. What the module's parts learn from data before the first step
    (`caudal.initialize`) is its owner's business.

    Raises:
        InputError: the module has no weights.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__(Chain([]), Normal((1,)))
        like = next(module.parameters(), None)
        if like is None:
            raise InputError(f"{type(module).__name__} has no weights to train")
        self.base.to(like)
        self.module = module

    def lift(
        self, x: Tensor, generator: torch.Generator | None = None, context: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        return x, x.new_zeros(len(x))

    def log_prob(self, x: Any, context: Any = None, generator: Any = None) -> Tensor:
        """Zeros: a failure is then looked for in the loss."""
        return self.base.like.new_zeros(len(x))


def loss_of(loss: Loss, what: nn.Module) -> Loss:
    """The loss of the module in an `Own`.

    Raises:
        InputError: the loss is one of flows, not of a module.
    """
    if loss is nll:
        raise InputError(f"{type(what).__name__} is no Flow: give the `loss(module, x, context)`")

    @wraps(loss)
    def of_module(flow: Own, x: Tensor, context: Tensor | None) -> Tensor:
        return loss(flow.module, x, context)

    return of_module
