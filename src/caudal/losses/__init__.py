"""The losses that training minimises, and the units of results."""

from caudal.losses.conditionals import (
    Conditionals,
    Divergence,
    conditional_kl,
    conditionals,
    discretized_log_prob,
    gaussian_kl,
    has_conditionals,
    has_gaussian_conditionals,
    is_discretizable,
)
from caudal.losses.divergence import (
    Terms,
    bits_per_dim,
    forward_kl,
    nll,
    nll_per_element,
    pushed,
    reverse_kl,
    rows_of,
    softened,
)
from caudal.losses.guidance import Guide, pairs_up
from caudal.losses.spectral import spectral_loss

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
    "pairs_up",
    "pushed",
    "reverse_kl",
    "rows_of",
    "softened",
    "spectral_loss",
]
