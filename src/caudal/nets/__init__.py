"""Conditioners: tensors in, parameters out. They import torch, and know nothing of flows."""

from caudal.nets.causal import CausalNet, Rerun
from caudal.nets.contracting import LipSwish
from caudal.nets.conv import (
    BoundedScale,
    ConcatContext,
    ContextMaps,
    ConvNet,
    ResidualConvNet,
    ZeroConv,
)
from caudal.nets.embedding import ColumnEmbedding, Embedding
from caudal.nets.lipschitz import LipschitzConvNet, LipschitzMLP, LipschitzNet
from caudal.nets.masked import MADE
from caudal.nets.mlp import MLP, ResidualMLP
from caudal.nets.spectral import Spectral, SpectralConv2d, SpectralLinear
from caudal.nets.triangular import TriangularConvNet, TriangularMLP, TriangularNet
from caudal.nets.wavenet import WaveNet
from caudal.nets.wavenet_step import Naive, Stepwise

__all__ = [
    "MADE",
    "MLP",
    "BoundedScale",
    "CausalNet",
    "ColumnEmbedding",
    "ConcatContext",
    "Embedding",
    "ContextMaps",
    "ConvNet",
    "LipSwish",
    "LipschitzConvNet",
    "LipschitzMLP",
    "LipschitzNet",
    "Naive",
    "Stepwise",
    "Rerun",
    "ResidualConvNet",
    "ResidualMLP",
    "Spectral",
    "SpectralConv2d",
    "SpectralLinear",
    "TriangularConvNet",
    "TriangularMLP",
    "TriangularNet",
    "WaveNet",
    "ZeroConv",
]
