"""Every bijection and every recipe, small: the table that the laws run over."""

import math

import torch

from caudal import Chain, Inverse
from caudal.bijections import (
    ActNorm,
    Asinh,
    Autoregressive,
    BatchNorm,
    Correlate,
    Coupling,
    Flip,
    Gaussianise,
    Logit,
    LULinear,
    Permutation,
    Pointwise,
    Residual,
    Scale,
    SoftClip,
    Standardise,
    Support,
    Triangular,
)
from caudal.elementwise import (
    Affine,
    Histogram,
    MixtureGaussian,
    MixtureLogistic,
    RationalQuadraticSpline,
    ScaledShift,
    Shift,
    SinhConjugation,
    SoftSpline,
    Swapped,
)
from caudal.nets import MADE, MLP, ResidualMLP, SteeredMADE, TriangularMLP
from caudal.nets.spectral import Spectral
from caudal.numerics import Roulette, Truncated
from caudal.recipes import (
    IAF,
    MAF,
    NCSF,
    NICE,
    NSF,
    NSFAR,
    NSFIAF,
    IResNet,
    MAFMoG,
    MintNet,
    RealNVP,
    ResidualFlow,
    TarFlow,
)
from caudal.recipes import MADE as MADERecipe  # noqa: N811
from contractions import Contraction

ELEMENTWISE = {
    "shift": Shift(),
    "affine": Affine(),
    "affine-floored": Affine(floor=-3.0),
    "affine-swapped": Swapped(Affine(floor=-7.0)),
    "histogram": Histogram(bins=7),
    "spline": RationalQuadraticSpline(bins=5),
    "sinh": SinhConjugation(maps=2),
    "soft-spline": SoftSpline(bins=5),
    "scaled": ScaledShift(bound=6.9),
    "mixture-logistic": MixtureLogistic(components=3),
    "mixture-gaussian": MixtureGaussian(components=3),
}

CONVERTED = {
    "scaled-softplus": ScaledShift("softplus", floor=1e-3),
    "scaled-sigmoid": ScaledShift("sigmoid", floor=1e-3),
    "scaled-inverse-sigmoid": ScaledShift("inverse-sigmoid"),
}
"""Maps for converted flows, which with zero parameters are not the identity."""

RECIPES = {
    "nice": NICE(hidden=(16, 16)),
    "realnvp": RealNVP(layers=3, hidden=(16,)),
    "made": MADERecipe(hidden=(16, 16)),
    "made-direct": MADERecipe(hidden=(3,), direct=True, activation="tanh"),
    "maf": MAF(layers=3, hidden=(16, 16)),
    "maf-narrow": MAF(layers=2, hidden=(2, 3), batch_norm=False),
    "maf-mog": MAFMoG(layers=2, hidden=(16,), components=3),
    "iaf": IAF(layers=3, hidden=(16, 16)),
    "iresnet": IResNet(blocks=2, hidden=(8, 8)),
    "residual-flow": ResidualFlow(blocks=2, hidden=(8,)),
    "mintnet": MintNet(layers=1, latents=4),
    "nsf": NSF(layers=2, hidden=16, blocks=1),
    "nsf-sinh": NSF(layers=2, hidden=16, blocks=1, map="sinh", bins=3),
    "nsf-ar": NSFAR(layers=2, hidden=16, blocks=1),
    "nsf-iaf": NSFIAF(layers=2, hidden=16, blocks=1),
    "tarflow": TarFlow(layers=2, depth=1, width=8, heads=2),
    "tarflow-affine": TarFlow(layers=1, depth=2, width=4, heads=1, map="affine"),
    "tarflow-mixture": TarFlow(layers=1, depth=1, width=4, map="mixture", pieces=2),
    "tarflow-sinh": TarFlow(layers=1, depth=1, width=4, map="sinh", pieces=2),
    "tarflow-any": TarFlow(layers=2, depth=1, width=8, heads=2, order="any"),
    "ncsf": NCSF(layers=2, hidden=16, blocks=1),
    "ncsf-autoregressive": NCSF(layers=2, hidden=16, blocks=1, autoregressive=True),
}


def coupling(elementwise, keep, context, net=MLP):
    kept, moved = int(keep.sum()), int((~keep).sum())
    sizes = {"hidden": (16,)} if net is MLP else {"hidden": 16, "blocks": 2}
    return Coupling(
        net(kept, moved, elementwise.n_params, context=context, **sizes), elementwise, keep
    )


class Board(torch.nn.Module):
    """A conditioner of whole images, for masks of the event's own shape."""

    def __init__(self, channels, n_params):
        super().__init__()
        self.conv = torch.nn.Conv2d(channels, channels * n_params, 3, padding=1)

    def forward(self, x, context=None):
        params = self.conv(x)
        if context is not None:
            params = params + context.sum(1)[:, None, None, None]
        return params.unflatten(1, (-1, x.shape[1]))


def bijections(features, context):
    """Name -> bijection of vectors (D,)."""
    cases = {
        "chain": Chain([Flip(), Scale((features,)), LULinear(features)]),
        "inverse": Inverse(LULinear(features)),
        "flip": Flip(),
        "permutation": Permutation(torch.randperm(features)),
        "lu": LULinear(features),
        "scale": Scale((features,)),
        "standardise": Standardise((features,)),
        "actnorm": ActNorm((features,)),
        "batchnorm": BatchNorm((features,)).eval(),
        "logit": Logit(alpha=0.05),
        "asinh": Asinh(scale=0.7),
        "support": Support(*ends(features)),
        "soft-clip": SoftClip(*ends(features), softness=0.3),
        "gaussianise": gaussianise(features),
        "correlate": Correlate(features, context),
        "residual": residual((features,), context),
        "triangular": Triangular(TriangularMLP(features, 6, context), (features,)),
    }
    for name, elementwise in (ELEMENTWISE | CONVERTED).items():
        cases[f"pointwise-{name}"] = Pointwise(elementwise, (features,))
        net = MADE(features, elementwise.n_params, (16, 16), context)
        cases[f"autoregressive-{name}"] = Autoregressive(net, elementwise)
        if features > 1:
            parity = torch.arange(features) % 2 == 0
            cases[f"coupling-{name}"] = coupling(elementwise, parity, context)
    net = MADE(features, 2, (16, 16, 16), context, residual=True, direct=True)
    cases["autoregressive-residual"] = Autoregressive(net, Affine())
    if context:
        net = SteeredMADE(features, 2, (16, 16, 16), context, residual=True)
        cases["autoregressive-steered"] = Autoregressive(net, Affine())
    if features > 3:
        uneven = torch.zeros(features, dtype=torch.bool)
        uneven[torch.tensor([0, 1, 3])] = True
        cases["coupling-uneven"] = coupling(Affine(), uneven, context, ResidualMLP)
        cases["coupling-half"] = coupling(Affine(), torch.arange(features) >= 2, context)
    return cases


def residual(event_shape, context, lipschitz=0.7):
    net = Contraction(math.prod(event_shape), lipschitz, context=context)
    return Residual(net, event_shape, Truncated(5), Roulette(20)).eval()


def ends(features):
    """The four kinds of support, in turn."""
    low = torch.tensor([float("-inf"), 0.0, float("-inf"), -2.0]).repeat(features)[:features]
    high = torch.tensor([float("inf"), float("inf"), 5.0, 3.0]).repeat(features)[:features]
    return low, high


def _context_of(part):
    return torch.randn(50, part.weight.shape[1]) if part.weight.shape[1] else None


def gaussianise(features):
    """The four kinds of support, in turn, fitted to rows with a lattice in the second."""
    low, high = ends(features)
    step = torch.tensor([0.0, 0.5, 0.0, 0.0]).repeat(features)[:features]
    layer = Gaussianise(low, high, step)
    layer.observe(Support(low, high).forward(torch.randn(500, features))[0])
    return layer


def randomise(module, scale=0.1):
    """Takes a fresh module away from the identity, its statistics too."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(scale * torch.randn_like(parameter))
        for part in module.modules():
            if isinstance(part, BatchNorm | Standardise):
                part.mean.normal_()
            if isinstance(part, BatchNorm):
                part.var.uniform_(0.5, 2)
            if isinstance(part, Standardise):
                part.std.uniform_(0.5, 2)
            if isinstance(part, Correlate):
                part.weight.normal_()
                part.observe(torch.randn(50, len(part.mean)).cumsum(1), _context_of(part))
            if isinstance(part, Spectral):
                part.tighten()
    return module
