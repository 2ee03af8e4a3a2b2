"""Every bijection and recipe of images, small: the table that test_image_laws.py runs over."""

import torch
from torch import nn

from cases import ELEMENTWISE, residual
from caudal import Chain, Inverse
from caudal.bijections import (
    ActNorm,
    BatchNorm,
    Conv1x1,
    Coupling,
    Decorrelate,
    FactorOut,
    Flattened,
    Flip,
    Logit,
    LUConv1x1,
    LULinear,
    Patches,
    Pointwise,
    Rescale,
    Squeezed,
    Triangular,
)
from caudal.elementwise import Affine
from caudal.nets import BoundedScale, ContextMaps, ConvNet, ResidualConvNet, TriangularConvNet
from caudal.nets.spectral import Spectral
from caudal.recipes import NICE, Glow, IResNet, MintNet, NSFImage, RealNVP, ResidualFlow, TarFlow
from caudal.recipes.multiscale import checkerboard

SHAPES = [(1, 2, 4), (3, 2, 2), (2, 4, 2)]

RECIPES = {
    "glow": Glow(layers=2, maps=5),
    "glow-additive": Glow(layers=2, maps=5, coupling="additive"),
    "glow-gated": Glow(layers=2, maps=5, coupling="gated"),
    "glow-lu": Glow(layers=2, maps=5, conv="lu"),
    "realnvp": RealNVP(maps=4, blocks=1),
    "realnvp-no-norm": RealNVP(maps=4, blocks=1, batch_norm=False),
    "iresnet": IResNet(blocks=1, maps=4),
    "iresnet-whole": IResNet(blocks=1, maps=4, squeeze_first=False),
    "residual-flow": ResidualFlow(blocks=1, maps=4, dense=1),
    "mintnet": MintNet(layers=2, latents=3),
    "tarflow": TarFlow(layers=2, depth=2, width=8, heads=2, patch=2),
    "tarflow-spline": TarFlow(layers=1, depth=1, width=8, heads=2, map="spline"),
    "tarflow-independent": TarFlow(layers=1, depth=1, width=8, heads=2, couplings=0),
    "tarflow-any": TarFlow(layers=2, depth=1, width=8, heads=2, order="any"),
    "nsf-image": NSFImage(layers=2, maps=4, blocks=1),
    "nsf-image-sinh": NSFImage(layers=1, maps=4, blocks=1, map="sinh", bins=2),
    "nsf-image-whole": NSFImage(layers=1, maps=4, blocks=1, factor_out=False),
}
FLAT = {"nice": NICE(hidden=(8,)), "nice-white": NICE(hidden=(8,), whiten=True)}


def bijections(shape, context=0):
    """Name -> bijection of images (C, H, W)."""
    channels, height, width = shape
    squeezed = (4 * channels, height // 2, width // 2)
    cases = {
        "squeezed": Squeezed(LUConv1x1(squeezed[0])),
        "factor-out": Squeezed(FactorOut(Conv1x1(2 * channels), 2 * channels)),
        "flattened": Flattened(LULinear(channels * height * width), shape),
        "conv1x1": Conv1x1(channels),
        "lu-conv1x1": LUConv1x1(channels),
        "decorrelate": Decorrelate(channels),
        "inverse": Inverse(Squeezed(Conv1x1(4 * channels))),
        "actnorm": ActNorm((channels, 1, 1)),
        "batchnorm": BatchNorm((channels, 1, 1)).eval(),
        "logit": Logit(0.05),
        "rescale": Rescale(1 / 128, -1.0),
        "nested": Squeezed(Chain([FactorOut(Chain([ActNorm((channels, 1, 1))]), channels)])),
        "patches": Patches(Pointwise(Affine(), (4 * channels, height * width // 4)), shape, 2),
        "flip": Flip(),
        "residual": residual(shape, context),
        "triangular": Triangular(TriangularConvNet(channels, 4, context), shape),
    }
    board = checkerboard(shape, 1)
    for name, moves in ELEMENTWISE.items():
        net = ConvNet(2 * channels, 2 * channels, moves.n_params, 5, context)
        keep = torch.arange(4 * channels) < 2 * channels
        cases[f"half-{name}"] = Squeezed(Coupling(net, moves, keep))
        net = ResidualConvNet(
            channels, channels, moves.n_params, 4, 1, context, mask=board[:1].double()
        )
        cases[f"board-{name}"] = Coupling(net.eval(), moves, board)
    bounded = BoundedScale(ResidualConvNet(channels, channels, 2, 4, 1, context), channels)
    cases["bounded"] = Coupling(bounded.eval(), Affine(bound=float("inf")), board)
    if context:
        none = torch.zeros(channels, dtype=torch.bool)
        cases["context-alone"] = Coupling(ContextMaps(channels, 2, context), Affine(), none)
    return cases


def away_from_start(module, scale=0.1):
    """Takes a fresh module away from the identity, its statistics too."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(scale * torch.randn_like(parameter))
        for part in module.modules():
            if isinstance(part, BatchNorm):
                part.mean.normal_()
                part.var.uniform_(0.5, 2)
            if isinstance(part, nn.BatchNorm2d):
                part.running_mean.normal_()
                part.running_var.uniform_(0.5, 2)
            if isinstance(part, Spectral):
                part.tighten()
    return module
