"""Recipes: one paper, one file, one frozen dataclass of its hyperparameters."""

from caudal.recipes.converted import Converted
from caudal.recipes.glow import Glow
from caudal.recipes.masked import IAF, MADE, MAF, MAFMoG
from caudal.recipes.mintnet import MintNet
from caudal.recipes.ncsf import NCSF
from caudal.recipes.nice import NICE
from caudal.recipes.nsf import NSF, NSFAR, NSFIAF
from caudal.recipes.nsf_image import NSFImage
from caudal.recipes.presets import PRESETS, find_preset
from caudal.recipes.realnvp import RealNVP
from caudal.recipes.recipe import Recipe
from caudal.recipes.registry import (
    RECIPES,
    describe,
    find_recipe,
    rebuild,
    register,
    restored,
    sources_of,
)
from caudal.recipes.residual import IResNet, ResidualFlow
from caudal.recipes.tarflow import TarFlow, TarFlowIAF
from caudal.recipes.wavenet import ParallelWaveNet, WaveNet

for _kind in (
    NICE,
    RealNVP,
    Glow,
    NSFImage,
    IResNet,
    ResidualFlow,
    MintNet,
    MADE,
    MAF,
    MAFMoG,
    IAF,
    NSF,
    NSFAR,
    NSFIAF,
    NCSF,
    TarFlow,
    TarFlowIAF,
    WaveNet,
    ParallelWaveNet,
    Converted,
):
    register(_kind)

__all__ = [
    "IAF",
    "MADE",
    "MAF",
    "NCSF",
    "NICE",
    "NSF",
    "NSFAR",
    "NSFIAF",
    "PRESETS",
    "RECIPES",
    "Converted",
    "Glow",
    "IResNet",
    "MAFMoG",
    "MintNet",
    "NSFImage",
    "ParallelWaveNet",
    "RealNVP",
    "Recipe",
    "ResidualFlow",
    "TarFlow",
    "TarFlowIAF",
    "WaveNet",
    "describe",
    "find_preset",
    "find_recipe",
    "rebuild",
    "register",
    "restored",
    "sources_of",
]
