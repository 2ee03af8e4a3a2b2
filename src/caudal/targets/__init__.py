"""Densities that are known up to their constant, from which flows learn without data."""

from caudal.targets.named import TARGETS, Named
from caudal.targets.particles import DW4, LJ13, Particles
from caudal.targets.plane import Banana, FortyGaussians, Funnel
from caudal.targets.schools import EightSchools
from caudal.targets.target import LogDensity, Target, log_density_of, refuse_outside
from caudal.targets.wells import ManyWell

__all__ = [
    "DW4",
    "LJ13",
    "TARGETS",
    "Banana",
    "EightSchools",
    "FortyGaussians",
    "Funnel",
    "LogDensity",
    "ManyWell",
    "Named",
    "Particles",
    "Target",
    "log_density_of",
    "refuse_outside",
]
