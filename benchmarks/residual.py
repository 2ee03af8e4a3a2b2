"""The same residual flow built in caudal and normflows, and what both can be asked for."""

import copy
import functools
import math
from collections.abc import Callable
from typing import Any

import normflows
import torch
from torch import Tensor, nn

from caudal.numerics import values_alone
from caudal.recipes import IResNet, ResidualFlow

COEFFICIENT = 0.98


def ours(features: int, size: tuple[int, int], recipe: type = ResidualFlow) -> nn.Module:
    return recipe(blocks=size[0], hidden=(size[1],) * 2).build((features,))


class Peer(nn.Module):
    """Normflows' residual flow: blocks and ActNorms as ours, its own defaults for the rest."""

    def __init__(self, features: int, size: tuple[int, int], **options: Any) -> None:
        super().__init__()
        widths, flows = [features, size[1], size[1], features], [normflows.flows.ActNorm(features)]
        for _ in range(size[0]):
            net = normflows.nets.LipschitzMLP(widths, lipschitz_const=COEFFICIENT)
            flows += [normflows.flows.Residual(net, **options), normflows.flows.ActNorm(features)]
        base = normflows.distributions.DiagGaussian(features, trainable=False)
        self.flow = normflows.NormalizingFlow(base, flows)

    @property
    def blocks(self) -> list[nn.Module]:
        return [part.iresblock for part in self.flow.flows if hasattr(part, "iresblock")]

    def log_prob(self, x: Tensor) -> Tensor:
        return self.flow.log_prob(x)

    def iterate(self) -> None:
        """What its users do after each step, as often as its nets do by default."""
        normflows.utils.update_lipschitz(self, 5)


BUILD: dict[str, Callable[..., nn.Module]] = {
    "caudal": ours,
    "caudal, iresnet": functools.partial(ours, recipe=IResNet),
    "normflows": Peer,
    "normflows, brute force": functools.partial(Peer, brute_force=True),
}


def forward(flow: nn.Module, z: Tensor) -> Tensor:
    """Noise to data, without a density."""
    if isinstance(flow, Peer):
        return flow.flow(z)
    with values_alone():
        return flow.bijection.forward(z)[0]


def inverse(flow: nn.Module, x: Tensor) -> Tensor:
    """Data to noise, without a density."""
    if not isinstance(flow, Peer):
        with values_alone():
            return flow.bijection.inverse(x)[0]
    for part in reversed(flow.flow.flows):
        x = part.iresblock(x) if hasattr(part, "iresblock") else part.inverse(x)[0]
    return x


def exact_log_prob(flow: nn.Module, x: Tensor) -> Tensor:
    """By the determinant of autograd's Jacobian, in float64."""
    flow, x = copy.deepcopy(flow).double(), x.double().requires_grad_()
    z = inverse(flow, x)
    rows = [torch.autograd.grad(c.sum(), x, retain_graph=True)[0] for c in z.unbind(1)]
    log_det = torch.linalg.slogdet(torch.stack(rows, 1)).logabsdet
    log_base = -0.5 * (z.square() + math.log(2 * math.pi)).sum(1)
    return (log_base + log_det).detach()
