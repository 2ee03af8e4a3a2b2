"""What training minimises, and the units results are told in."""

from caudal.losses.conditionals import (
    Conditionals,
    Divergence,
    conditional_kl,
    conditionals,
    gaussian_kl,
    has_conditionals,
    has_gaussian_conditionals,
)
from caudal.losses.discretized import discretized_log_prob, is_discretizable
from caudal.losses.divergence import forward_kl, reverse_kl
from caudal.losses.guidance import Guide
from caudal.losses.likelihood import bits_per_dim, nll, nll_per_element
from caudal.losses.spectral import spectral_loss
from caudal.losses.terms import Terms

__all__ = [
    "Conditionals",
    "Divergence",
    "Guide",
    "Terms",
    "bits_per_dim",
    "conditional_kl",
    "conditionals",
    "discretized_log_prob",
    "forward_kl",
    "gaussian_kl",
    "has_conditionals",
    "has_gaussian_conditionals",
    "is_discretizable",
    "nll",
    "nll_per_element",
    "reverse_kl",
    "spectral_loss",
]
