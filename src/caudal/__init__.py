"""caudal: normalizing flows with exact densities and fast sampling, both ways."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from caudal import recipes
from caudal.bijection import Bijection, Chain, Inverse
from caudal.correction import corrected_sample
from caudal.errors import InputError, NumericalError
from caudal.flow import Flow
from caudal.initialization import calibrate, initialize

if TYPE_CHECKING:
    from caudal.training.assemble import assemble
    from caudal.training.audio_terms import AudioDistillation
    from caudal.training.checkpoint import load
    from caudal.training.distill import Distillation, distill
    from caudal.training.distill_audio import distill_audio
    from caudal.training.fit import fit
    from caudal.training.options import Training

__all__ = [
    "AudioDistillation",
    "Bijection",
    "Chain",
    "Distillation",
    "Flow",
    "InputError",
    "Inverse",
    "NumericalError",
    "Training",
    "assemble",
    "calibrate",
    "corrected_sample",
    "distill",
    "distill_audio",
    "fit",
    "initialize",
    "load",
    "recipes",
]

# Imported when first asked for: `import caudal` costs little more than `import torch`.
_LATER = {
    "AudioDistillation": "caudal.training.audio_terms",
    "Distillation": "caudal.training.distill",
    "Training": "caudal.training.options",
    "assemble": "caudal.training.assemble",
    "distill": "caudal.training.distill",
    "distill_audio": "caudal.training.distill_audio",
    "fit": "caudal.training.fit",
    "load": "caudal.training.checkpoint",
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module 'caudal' has no attribute {name!r}")
    return getattr(import_module(_LATER[name]), name)
