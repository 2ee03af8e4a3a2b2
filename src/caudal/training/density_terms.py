"""What a flow learns from a density without data: divergences both ways, on chains and draws."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from annotated_types import Ge, Gt
from torch import Tensor

from caudal.annealing import Annealed, Broad, Stride, anneal, move
from caudal.data.source import Rows
from caudal.errors import InputError
from caudal.fields import check_fields
from caudal.flow import Flow
from caudal.losses import Terms, pushed, softened
from caudal.numerics import own_generator, own_randomness, redirected
from caudal.targets import LogDensity, Target, log_density_of
from caudal.training.chains import Chains

_TAIL = 10.0  # nats above the median log-ratio, beyond which a draw counts by its logarithm
_HELD_OUT = 5  # one chain in so many is held out, to select the best weights


@dataclass(frozen=True)
class Variational:
    """What a flow learns from a density, and how. Every field is a flag.

    Raises:
        InputError: a value is out of its range.
    """

    particles: Annotated[int, Ge(100)] = 8192
    """Chains that are annealed to the density and moved on while the flow learns from them."""
    scale: Annotated[float, Gt(0)] | None = None
    """Standard deviation of the broad Gaussian around 0 from which annealing starts, and which
    must cover the density; that of the density, or 1, if not given."""
    forward: Annotated[float, Ge(0)] = 1.0
    """Weight of KL(density||flow) on the chains: misses no mode that they have found."""
    reverse: Annotated[float, Ge(0)] = 0.0
    """Weight of KL(flow||density) on the flow's own draws, with path gradients. It sharpens a flow
    of one mode; of many, its gradients outweigh those of the other term."""
    moves: Annotated[int, Ge(0)] = 1
    """Hamiltonian moves of a chain each time that the flow has learned from it."""

    def __post_init__(self) -> None:
        check_fields(self)
        self.check_weights()

    def check_weights(self) -> None:
        """Refuses options by which there is nothing to learn from."""
        if not self.forward + self.reverse:
            raise InputError("nothing to learn from: give `forward` or `reverse` a weight")

    def annealed(
        self, log_density: LogDensity, like: Tensor, features: int, seed: int, **watch: Any
    ) -> Annealed:
        """The chains after annealing, in the precision of `like`, on the CPU.

        Raises:
            InputError: as `caudal.annealing.anneal`.
            NumericalError: as `caudal.annealing.anneal`.
        """
        usual = log_density.scale if isinstance(log_density, Target) else 1.0
        start = Broad(torch.zeros((), dtype=like.dtype), features, self.scale or usual)
        with own_randomness(seed=seed), redirected():  # a density may draw as it likes
            return anneal(log_density, start, self.particles, own_generator(), **watch)


def split(x: Tensor) -> tuple[Chains, Rows]:
    """Chains to learn from, and those that are held out, which do not move."""
    held_out = torch.arange(len(x)) % _HELD_OUT == _HELD_OUT - 1
    return Chains(x[~held_out]), Rows(x[held_out])


class DensityTerms(Terms):
    """The terms of `Variational`: a forward and a reverse divergence, each up to a constant.

    - forward = -mean log q(x) over chains x, whose limit is the density p;
    - reverse = mean [log q(y) - log p(y)] over draws y of the flow, with path gradients ("sticking
      the landing"), so that it vanishes where the flow is the density.

    Each draw, with a reverse term or without, is also a proposal of independence Metropolis to
    one chain, which may so jump to another mode and correct how many chains a mode has. After
    that a chain takes its Hamiltonian moves, and a random symmetry of the target. The chains'
    state is saved with the training.

    References: Gabrié, Rotskoff, Vanden-Eijnden (2022), arXiv:2105.12603; Vaitl, Nicoli,
    Nakajima, Kessel (2022), arXiv:2207.08219.
    """

    def __init__(
        self, flow: Flow, log_density: LogDensity, chains: Chains, options: Variational
    ) -> None:
        self.flow, self.log_density, self.chains = flow, log_density, chains
        self.options = options
        weights = {"forward": options.forward, "reverse": options.reverse}
        self.weights = {name: weight for name, weight in weights.items() if weight}
        self.latest: Mapping[str, Tensor] = {}
        self.stride = Stride.of(chains.x)

    def terms(self, x: Tensor, context: Tensor | None) -> Mapping[str, Tensor]:
        """The terms of a batch of chains (B, D), which then move on."""
        if len(x) != len(self.chains.taken):
            raise InputError("a density is learned on one device: leave `devices` at 1")
        log_q = self.flow.log_prob(x)
        terms = {"forward": -log_q.mean()}
        with torch.set_grad_enabled("reverse" in self.weights and torch.is_grad_enabled()):
            z = self.flow.base.sample(len(x))
            y, log_q_y = pushed(self.flow, z, path="reverse" in self.weights)
            log_w = log_density_of(self.log_density, y) - log_q_y
        if "reverse" in self.weights:
            terms["reverse"] = _reverse(-log_w)
        with redirected():  # symmetries of a target draw as they like
            self._move(self._jumped(x, log_q, y, log_w))
        return terms

    @torch.no_grad()
    def _jumped(self, x: Tensor, log_q: Tensor, y: Tensor, log_w: Tensor) -> Tensor:
        """Chains x, or in their place the draws y that independence Metropolis accepts."""
        here = log_density_of(self.log_density, x) - log_q
        accepted = torch.rand_like(here).log() < log_w - here
        return torch.where(accepted.unsqueeze(1), y, x)

    def _move(self, x: Tensor) -> None:
        x = move(self.log_density, x.detach(), self.stride, self.options.moves)
        self.chains.put(self.log_density.moved(x) if isinstance(self.log_density, Target) else x)

    def state_dict(self) -> dict[str, Tensor]:
        step = torch.tensor(self.stride.step, dtype=torch.float64)
        return {"x": self.chains.x, "step": step, "spread": torch.as_tensor(self.stride.spread)}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        self.chains.x = state["x"].clone()
        self.stride.step, self.stride.spread = float(state["step"]), state["spread"].clone()


def _reverse(log_ratio: Tensor) -> Tensor:
    """The mean of log q - log p (B,), of which outliers above the median count less.

    In the beginning a flow draws where an energy is 1e10. The constant of the density is unknown,
    and so the bound is counted from the median.
    """
    finite = log_ratio[log_ratio.isfinite()]
    if not len(finite):
        return log_ratio.mean()  # the engine says that it is not finite
    middle = finite.detach().median()
    return softened(finite - middle, _TAIL).mean() + middle
