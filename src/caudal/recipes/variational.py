"""Variational dequantisation: a small flow that chooses the noise of each image."""

from torch import nn

from caudal.bijection import Bijection, Chain
from caudal.bijections import Coupling
from caudal.dequantization import VariationalDequantization
from caudal.elementwise import Affine
from caudal.nets import ConcatContext, ConvNet
from caudal.recipes.realnvp import checkerboard
from caudal.recipes.recipe import Shape

_COUPLINGS, _MAPS, _FEATURES = 4, 32, 16


def variational(shape: Shape, levels: int) -> VariationalDequantization:
    """Four affine couplings with checkerboard masks, steered by features of the image.

    It is smaller than Flow++'s, whose nets have attention and whose couplings are mixtures.
    Reference: Flow++ (Ho, Chen, Srinivas, Duan, Abbeel, 2019), arXiv:1902.00275.
    """
    channels = shape[0]
    parts: list[Bijection] = []
    for layer in range(_COUPLINGS):
        net = ConvNet(channels + _FEATURES, channels, Affine.n_params, _MAPS)
        parts.append(Coupling(ConcatContext(net), Affine(), checkerboard(shape, layer)))
    features = nn.Sequential(
        nn.Conv2d(channels, _MAPS, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(_MAPS, _FEATURES, 3, padding=1),
        nn.ReLU(),
    )
    return VariationalDequantization(shape, Chain(parts), features, levels)
