"""caudal: normalizing flows with exact densities and fast sampling, both ways."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from caudal import base as base
    from caudal import bijections as bijections
    from caudal import conversion as conversion
    from caudal import data as data
    from caudal import dequantization as dequantization
    from caudal import elementwise as elementwise
    from caudal import losses as losses
    from caudal import nets as nets
    from caudal import numerics as numerics
    from caudal import recipes as recipes
    from caudal import report as report
    from caudal import sbi as sbi
    from caudal import sklearn as sklearn
    from caudal import targets as targets
    from caudal import testing as testing
    from caudal import training as training
    from caudal.bijection import Bijection, Chain, Inverse
    from caudal.correction import corrected_sample
    from caudal.errors import InputError, NumericalError
    from caudal.flow import Flow
    from caudal.initialization import calibrate, initialize
    from caudal.modality import assemble
    from caudal.model import Model, fit, fit_density, load, pull, train
    from caudal.recipes.converted import convert
    from caudal.recipes.registry import register as recipe
    from caudal.report.density import evaluate_density
    from caudal.sbi import npe
    from caudal.training.clip_terms import AudioDistillation
    from caudal.training.density_terms import Variational
    from caudal.training.options import Training
    from caudal.training.run import Run
    from caudal.training.sample_terms import Distillation
    from caudal.training.student import distill
    from caudal.version import __version__ as __version__

__all__ = [
    "AudioDistillation",
    "Bijection",
    "Chain",
    "Distillation",
    "Flow",
    "InputError",
    "Inverse",
    "Model",
    "NumericalError",
    "Run",
    "Training",
    "Variational",
    "assemble",
    "calibrate",
    "convert",
    "corrected_sample",
    "distill",
    "evaluate_density",
    "fit",
    "fit_density",
    "initialize",
    "load",
    "npe",
    "pull",
    "recipe",
    "recipes",
    "train",
]

# `import caudal` imports nothing, torch neither: names and modules load when first used.
_NAMES = {
    "AudioDistillation": "caudal.training.clip_terms",
    "Bijection": "caudal.bijection",
    "Chain": "caudal.bijection",
    "Distillation": "caudal.training.sample_terms",
    "Flow": "caudal.flow",
    "InputError": "caudal.errors",
    "Inverse": "caudal.bijection",
    "Model": "caudal.model",
    "NumericalError": "caudal.errors",
    "Run": "caudal.training.run",
    "Training": "caudal.training.options",
    "Variational": "caudal.training.density_terms",
    "__version__": "caudal.version",
    "assemble": "caudal.modality",
    "calibrate": "caudal.initialization",
    "convert": "caudal.recipes.converted",
    "corrected_sample": "caudal.correction",
    "distill": "caudal.training.student",
    "evaluate_density": "caudal.report.density",
    "fit": "caudal.model",
    "fit_density": "caudal.model",
    "initialize": "caudal.initialization",
    "load": "caudal.model",
    "npe": "caudal.sbi",
    "pull": "caudal.model",
    "recipe": "caudal.recipes.registry",
    "train": "caudal.model",
}
_RENAMED = {"recipe": "register"}
_MODULES = (
    "annealing",
    "base",
    "bijection",
    "bijections",
    "conversion",
    "correction",
    "data",
    "denoising",
    "dequantization",
    "distribution",
    "elementwise",
    "errors",
    "flow",
    "initialization",
    "interpolation",
    "losses",
    "model",
    "modality",
    "nets",
    "numerics",
    "recipes",
    "report",
    "sbi",
    "sklearn",
    "targets",
    "testing",
    "training",
    "weights",
)


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"caudal.{name}")
    if name not in _NAMES:
        raise AttributeError(f"module 'caudal' has no attribute {name!r}")
    value = getattr(import_module(_NAMES[name]), _RENAMED.get(name, name))
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*__all__, *_MODULES})
