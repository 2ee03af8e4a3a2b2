"""Conditioners: tensors in, parameters out. They import torch, and know nothing of flows."""

from caudal.nets.activation import LipSwish
from caudal.nets.angles import FEATURES, harmonics
from caudal.nets.causal import CausalNet, Rerun, Stepwise
from caudal.nets.context import ColumnEmbedding, Embedding, Withheld, WithLast
from caudal.nets.conv import (
    BoundedScale,
    ConcatContext,
    ContextMaps,
    ConvNet,
    ResidualConvNet,
    ZeroConv,
)
from caudal.nets.lipschitz import LipschitzConvNet, LipschitzMLP, LipschitzNet
from caudal.nets.masked import MADE, SteeredMADE
from caudal.nets.mlp import MLP, Constant, OnePerParameter, ResidualMLP
from caudal.nets.periodic import Periodic, PeriodicMADE
from caudal.nets.spectral import Spectral, SpectralConv2d, SpectralLinear
from caudal.nets.transformer import CausalTransformer
from caudal.nets.triangular import TriangularConvNet, TriangularMLP, TriangularNet
from caudal.nets.wavenet import Naive, WaveNet

__all__ = [
    "FEATURES",
    "MADE",
    "MLP",
    "BoundedScale",
    "CausalNet",
    "CausalTransformer",
    "ColumnEmbedding",
    "ConcatContext",
    "Constant",
    "ContextMaps",
    "ConvNet",
    "Embedding",
    "LipSwish",
    "LipschitzConvNet",
    "LipschitzMLP",
    "LipschitzNet",
    "Naive",
    "OnePerParameter",
    "Periodic",
    "PeriodicMADE",
    "Rerun",
    "ResidualConvNet",
    "ResidualMLP",
    "Spectral",
    "SpectralConv2d",
    "SpectralLinear",
    "SteeredMADE",
    "Stepwise",
    "TriangularConvNet",
    "TriangularMLP",
    "TriangularNet",
    "WaveNet",
    "WithLast",
    "Withheld",
    "ZeroConv",
    "harmonics",
]
