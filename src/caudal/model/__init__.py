"""The run object: a flow with what its data are, from training to samples."""

from caudal.model.model import Model, load
from caudal.model.students import distill
from caudal.model.training import train

__all__ = ["Model", "distill", "load", "train"]
