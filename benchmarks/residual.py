"""The same residual flow built in caudal and normflows, and what both can be asked for."""

import copy
import functools
import math
from collections.abc import Callable
from typing import Any

import normflows
import torch
from torch import Tensor, nn

from caudal.bijections import ActNorm
from caudal.numerics import values_alone
from caudal.recipes import IResNet, ResidualFlow

COEFFICIENT = 0.98


def ours(features: int, size: tuple[int, int], recipe: type = ResidualFlow) -> nn.Module:
    return recipe(blocks=size[0], hidden=(size[1],) * 2).build((features,), standardise=False)


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


@torch.no_grad()
def transplanted(flow: nn.Module, features: int, size: tuple[int, int]) -> Peer:
    """Normflows' flow with the weights of ours: the same function.

    Its nets begin with an activation, which is taken out.
    """
    peer = Peer(features, size).eval()
    for ours, theirs in zip(flow.bijection.parts, peer.flow.flows, strict=True):
        if isinstance(ours, ActNorm):
            theirs.s.copy_(3 * ours.third_of_log_std)
            theirs.t.copy_(ours.mean)
            theirs.data_dep_init_done.fill_(1)
            continue
        layers = list(theirs.iresblock.nnet.net)[1:]
        theirs.iresblock.nnet.net = nn.Sequential(*layers)
        for swish, activation in zip(layers[1::2], ours.net.activations, strict=True):
            swish.beta.copy_(activation.raw)
        for theirs_too, layer in zip(layers[::2], ours.net.layers, strict=True):
            theirs_too.weight.copy_(layer.weight)
            theirs_too.bias.copy_(layer.bias)
            theirs_too.v.copy_(layer.direction)
            theirs_too.u.copy_(nn.functional.normalize(layer.stretch(layer.direction), dim=0))
    return peer


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
