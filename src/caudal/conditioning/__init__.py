"""Samples of some columns of a flow given the others."""

from caudal.conditioning.sampling import STEPS, Conditioning, conditional_sample

__all__ = ["STEPS", "Conditioning", "conditional_sample"]
