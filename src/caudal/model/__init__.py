"""The run object: a flow with what its data are, from training to samples."""

from caudal.model.fitting import fit, fit_density
from caudal.model.hub import pull
from caudal.model.model import Model, load
from caudal.model.training import train

__all__ = ["Model", "fit", "fit_density", "load", "pull", "train"]
