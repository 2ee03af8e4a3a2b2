"""From an easy density to a hard one: Hamiltonian moves, sequential Monte Carlo."""

from caudal.annealing.hamiltonian import Stride, move
from caudal.annealing.smc import Annealed, Broad, FromFlow, Start, anneal

__all__ = ["Annealed", "Broad", "FromFlow", "Start", "Stride", "anneal", "move"]
