"""From an easy density to a hard one: Hamiltonian moves, sequential Monte Carlo."""

from caudal.annealing.hamiltonian import Stride, move
from caudal.annealing.smc import Annealed, Broad, FromFlow, Start, anneal
from caudal.annealing.uncertainty import Uncertainty

__all__ = ["Annealed", "Broad", "FromFlow", "Start", "Stride", "Uncertainty", "anneal", "move"]
