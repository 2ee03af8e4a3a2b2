"""The same flow built in caudal, zuko, nflows and normflows, behind `log_prob` and `sample`.

Equal means: layers, masks or column orders, permutations, hidden layers, activations (ReLU), bins,
bound, base, no batch normalisation. What each library does in its own way stays as its users get
it: how weights start, and how a scale or a slope is kept positive.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import normflows
import torch
import zuko
from nflows.distributions.normal import StandardNormal
from nflows.flows import Flow as NflowsFlow
from nflows.nn.nets import ResidualNet
from nflows.transforms import autoregressive as nflows_ar
from nflows.transforms import base as nflows_base
from nflows.transforms import coupling as nflows_coupling
from nflows.transforms.lu import LULinear as NflowsLU
from nflows.transforms.permutations import Permutation as NflowsPermutation
from nflows.transforms.permutations import ReversePermutation
from normflows.flows.affine.autoregressive import MaskedAffineAutoregressive
from normflows.flows.neural_spline.coupling import PiecewiseRationalQuadraticCoupling
from normflows.nets import ResidualNet as NormflowsResidualNet
from torch import Tensor, nn
from zuko.flows.autoregressive import MaskedAutoregressiveTransform
from zuko.flows.coupling import GeneralCouplingTransform
from zuko.lazy import UnconditionalDistribution, UnconditionalTransform
from zuko.transforms import LULinearTransform, MonotonicRQSTransform, PermutationTransform

from caudal import recipes
from caudal.bijections import Permutation
from caudal.recipes.recipe import parity

LIBRARIES = ("caudal", "zuko", "nflows", "normflows")


@dataclass(frozen=True)
class Model:
    """An architecture, to be built for any number of columns by any library."""

    kind: str
    """made, maf, realnvp, nsf or nsf-ar: a key of caudal's recipes."""
    layers: int
    hidden: int
    """Units of each hidden layer: two of them, or two residual blocks where splines are."""
    bins: int = 8
    bound: float = 3.0

    @property
    def name(self) -> str:
        return self.kind if self.kind == "made" else f"{self.kind}({self.layers})"


class Density(nn.Module):
    """Any library's flow; `sample(n)` draws n rows."""

    def __init__(
        self,
        flow: nn.Module,
        log_prob: Callable[[Tensor], Tensor],
        sample: Callable[[int], Tensor],
    ) -> None:
        super().__init__()
        self.flow = flow
        self.log_prob = log_prob
        self.sample = sample

    @property
    def n_params(self) -> int:
        return sum(p.numel() for p in self.parameters())


def build(library: str, model: Model, features: int, seed: int = 0) -> Density:
    """The model in that library. The permutations of a seed are the same in all of them."""
    torch.manual_seed(seed)
    ours = _recipe(model).build((features,), standardise=False)
    if library == "caudal":
        return Density(ours, ours.log_prob, ours.sample)
    backs = [part.back for part in ours.modules() if isinstance(part, Permutation)]
    torch.manual_seed(seed)
    return {"zuko": _zuko, "nflows": _nflows, "normflows": _normflows}[library](
        model, features, backs[::-1]
    )


def _recipe(model: Model) -> recipes.Recipe:
    hidden = (model.hidden, model.hidden)
    spline = {"hidden": model.hidden, "bins": model.bins, "bound": model.bound, "blocks": 2}
    return {
        "made": lambda: recipes.MADE(hidden),
        "maf": lambda: recipes.MAF(model.layers, hidden, batch_norm=False),
        "realnvp": lambda: recipes.RealNVP(model.layers, hidden, batch_norm=False),
        "nsf": lambda: recipes.NSF(model.layers, **spline),
        "nsf-ar": lambda: recipes.NSFAR(model.layers, **spline),
    }[model.kind]()


def _steps(model: Model, backs: list[Tensor], layer: Callable[[int], Any], mix: Callable) -> list:
    """A spline flow from data to noise: mix, then layer and mix in turns (mix: permute, LU)."""
    parts = [*mix(backs[0])]
    for index, back in enumerate(backs[1:]):
        parts += [layer(model.layers - 1 - index), *mix(back)]
    return parts


# zuko


def _zuko(model: Model, features: int, backs: list[Tensor]) -> Density:
    spline = {
        "univariate": partial(MonotonicRQSTransform, bound=model.bound),
        "shapes": [(model.bins,), (model.bins,), (model.bins - 1,)],
    }
    hidden = {"hidden_features": (model.hidden, model.hidden)}

    def masked(index: int) -> nn.Module:
        order = torch.arange(features)
        order = order if index % 2 == 0 else order.flip(0)
        return MaskedAutoregressiveTransform(features, order=order, **hidden)

    def coupling(index: int, **options: Any) -> nn.Module:
        return GeneralCouplingTransform(
            features, mask=parity(features, index), **hidden, **options
        )

    def spline_coupling(index: int) -> nn.Module:
        transform = coupling(index, **spline)
        transform.hyper = _zuko_residual(transform.hyper, model.hidden)
        return transform

    def spline_ar(_: int) -> nn.Module:
        transform = MaskedAutoregressiveTransform(features, residual=True, **hidden, **spline)
        for block in transform.hyper:
            if isinstance(block, zuko.nn.Residual):
                block.insert(0, nn.ReLU())
        return transform

    def mix(back: Tensor) -> list[nn.Module]:
        lu = UnconditionalTransform(LULinearTransform, torch.eye(features))
        return [UnconditionalTransform(PermutationTransform, back, buffer=True), lu]

    parts = {
        "made": lambda: [masked(0)],
        "maf": lambda: [masked(i) for i in range(model.layers)],
        "realnvp": lambda: [coupling(i) for i in reversed(range(model.layers))],
        "nsf": lambda: _steps(model, backs, spline_coupling, mix),
        "nsf-ar": lambda: _steps(model, backs, spline_ar, mix),
    }[model.kind]()
    loc, scale = torch.zeros(features), torch.ones(features)
    base = UnconditionalDistribution(zuko.distributions.DiagNormal, loc, scale, buffer=True)
    flow = zuko.lazy.Flow(parts, base)
    return Density(flow, lambda x: flow().log_prob(x), lambda n: flow().sample((n,)))


def _zuko_residual(plain: zuko.nn.MLP, hidden: int) -> nn.Module:
    """A residual net of zuko's own parts; its couplings come with plain nets only."""
    linear = zuko.nn.Linear
    blocks = (
        zuko.nn.Residual(nn.ReLU(), linear(hidden, hidden), nn.ReLU(), linear(hidden, hidden))
        for _ in range(2)
    )
    return nn.Sequential(
        linear(plain.in_features, hidden), *blocks, linear(hidden, plain.out_features)
    )


# nflows


def _nflows(model: Model, features: int, backs: list[Tensor]) -> Density:
    spline = {"num_bins": model.bins, "tails": "linear", "tail_bound": model.bound}

    def masked(index: int) -> list[nn.Module]:
        transform = nflows_ar.MaskedAffineAutoregressiveTransform(
            features, model.hidden, num_blocks=1, use_residual_blocks=False
        )
        return [ReversePermutation(features), transform] if index else [transform]

    def coupling(index: int) -> nn.Module:
        move = (~parity(features, index)).int()
        net = partial(_nflows_plain, hidden=model.hidden)
        return nflows_coupling.AffineCouplingTransform(move, net)

    def spline_coupling(index: int) -> nn.Module:
        move = (~parity(features, index)).int()
        net = partial(ResidualNet, hidden_features=model.hidden, num_blocks=2)
        return nflows_coupling.PiecewiseRationalQuadraticCouplingTransform(move, net, **spline)

    def spline_ar(_: int) -> nn.Module:
        return nflows_ar.MaskedPiecewiseRationalQuadraticAutoregressiveTransform(
            features, model.hidden, num_blocks=2, **spline
        )

    def mix(back: Tensor) -> list[nn.Module]:
        return [NflowsPermutation(back), NflowsLU(features)]

    parts = {
        "made": lambda: masked(0),
        "maf": lambda: [part for i in range(model.layers) for part in masked(i)],
        "realnvp": lambda: [coupling(i) for i in reversed(range(model.layers))],
        "nsf": lambda: _steps(model, backs, spline_coupling, mix),
        "nsf-ar": lambda: _steps(model, backs, spline_ar, mix),
    }[model.kind]()
    flow = NflowsFlow(nflows_base.CompositeTransform(parts), StandardNormal([features]))
    return Density(flow, flow.log_prob, flow.sample)


class _NoContext(nn.Sequential):
    """nflows hands every net a context."""

    def forward(self, x: Tensor, context: None = None) -> Tensor:
        return super().forward(x)


def _nflows_plain(inputs: int, outputs: int, hidden: int) -> nn.Module:
    """The same as nflows' own MLP, which cannot steer its couplings: it takes no context."""
    return _NoContext(
        nn.Linear(inputs, hidden),
        nn.ReLU(),
        nn.Linear(hidden, hidden),
        nn.ReLU(),
        nn.Linear(hidden, outputs),
    )


# normflows: for speed only. Its masked affine layer has the fast direction from noise to data, so
# that a density costs D passes; `Reverse` turns it round. It leaves out one ReLU of two.


def _normflows(model: Model, features: int, backs: list[Tensor]) -> Density:
    flows = normflows.flows

    def masked(_: int) -> nn.Module:
        transform = MaskedAffineAutoregressive(
            features, model.hidden, num_blocks=1, use_residual_blocks=False
        )
        return flows.Reverse(transform)

    def coupling(_: int) -> list[nn.Module]:
        kept, hidden = (features + 1) // 2, model.hidden
        net = normflows.nets.MLP([kept, hidden, hidden, 2 * (features - kept)])
        return [flows.AffineCouplingBlock(net), flows.Permute(features, mode="swap")]

    def spline_coupling(index: int) -> nn.Module:
        net = partial(NormflowsResidualNet, hidden_features=model.hidden, num_blocks=2)
        move = (~parity(features, index)).int()
        options = {"num_bins": model.bins, "tails": "linear", "tail_bound": model.bound}
        return flows.Reverse(PiecewiseRationalQuadraticCoupling(move, net, **options))

    def spline_ar(_: int) -> nn.Module:
        return flows.AutoregressiveRationalQuadraticSpline(
            features, 2, model.hidden, num_bins=model.bins, tail_bound=model.bound
        )

    def mix(_: Tensor) -> list[nn.Module]:
        return [flows.LULinearPermute(features)]

    parts = {
        "made": lambda: [masked(0)],
        "maf": lambda: [masked(i) for i in range(model.layers)],
        "realnvp": lambda: [part for i in range(model.layers) for part in coupling(i)],
        "nsf": lambda: _steps(model, backs, spline_coupling, mix),
        "nsf-ar": lambda: _steps(model, backs, spline_ar, mix),
    }[model.kind]()
    base = normflows.distributions.DiagGaussian(features, trainable=False)
    flow = normflows.NormalizingFlow(base, parts[::-1])
    return Density(flow, flow.log_prob, lambda n: flow.sample(n)[0])
