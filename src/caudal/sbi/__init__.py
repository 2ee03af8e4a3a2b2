"""Simulation-based inference: posteriors of a simulator's parameters, learned from its runs.

`caudal.npe` does it all; `density_estimator` is for users of the package `sbi`, whose own training
and posteriors then work on flows of ours.
"""

from caudal.report.calibration import Calibration
from caudal.sbi.inference import npe
from caudal.sbi.posterior import Posterior

__all__ = ["Calibration", "Posterior", "density_estimator", "npe"]


def __getattr__(name: str) -> object:
    """The estimator is derived from a class of `sbi`, which is imported when it is asked for."""
    if name == "density_estimator":
        from caudal.sbi.estimator import density_estimator

        return density_estimator
    raise AttributeError(f"module 'caudal.sbi' has no attribute {name!r}")
