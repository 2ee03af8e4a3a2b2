"""What training minimises, and the units results are told in."""

from caudal.losses.divergence import forward_kl, gaussian_kl, reverse_kl
from caudal.losses.guidance import Guide
from caudal.losses.likelihood import bits_per_dim, nll

__all__ = ["Guide", "bits_per_dim", "forward_kl", "gaussian_kl", "nll", "reverse_kl"]
