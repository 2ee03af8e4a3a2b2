"""Samples of some columns of a flow given the others: exact, or weighted and then Metropolis."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from caudal.broadcasting import per_row
from caudal.conditioning.candidates import Candidates, State
from caudal.conditioning.completion import complete, completes
from caudal.conditioning.law import lifted_masks
from caudal.dequantization import TableDequantization
from caudal.errors import InputError
from caudal.flow import Flow
from caudal.numerics import uniform

CANDIDATES, ROUND, ENOUGH = 128, 16, 12
"""Candidates of a row at most, how many come at a time, and how many effective ones are enough."""
SIZES = (1.0, 0.3, 0.1, 0.03)
STEPS = 8 * len(SIZES)
"""Sizes of moves, in turn, and how many moves there are: 1 forgets where a row is."""
_NUMBERS = 1 << 24  # numbers in the covariances that are held at a time
_TOKENS = 1 << 17  # numbers of the rows that a flow of any order draws at a time


@dataclass(frozen=True, eq=False)
class Conditioning:
    """Diagnostics of conditional samples.

    Attributes:
        candidates: the number of candidates of a row, at most.
        steps: the number of moves that each row was offered; 0 where the candidates are exact, as
            those of flows of any order.
        shares: effective size of the candidates of each row as a share of their number, (n,); 0
            for a row that cannot be: the density of what is given is 0.
        moves: the number of moves that each row accepted, (n,).
    """

    candidates: int
    steps: int
    shares: Tensor
    moves: Tensor

    @property
    def exact(self) -> bool:
        """Whether no moves were needed: given the noise within steps each draw is exact."""
        return self.steps == 0

    @property
    def ess(self) -> float:
        """The mean effective size over rows, as a share of the candidates."""
        return float(self.shares.mean())

    @property
    def acceptance(self) -> float:
        """Share of accepted moves; 1 where none are needed."""
        if self.exact:
            return 1.0
        return float(self.moves.double().mean()) / self.steps

    @property
    def stuck(self) -> float:
        """Share of rows that never moved: they are the best of their candidates."""
        return 0.0 if self.exact else float((self.moves == 0).double().mean())

    @property
    def possible(self) -> Tensor:
        """Mask (n,) of the rows whose density is not 0 where they are given."""
        return self.shares > 0

    @classmethod
    def join(cls, parts: "Sequence[Conditioning]") -> "Conditioning":
        """One account of the rows of several; one without moves counts as having taken all."""
        candidates, steps = (max(getattr(p, n) for p in parts) for n in ("candidates", "steps"))
        moves = [p.moves if p.steps else torch.full_like(p.moves, steps) for p in parts]
        return cls(candidates, steps, torch.cat([p.shares for p in parts]), torch.cat(moves))

    def to_dict(self) -> dict[str, Any]:
        """A dictionary for JSON."""
        names = ("candidates", "steps", "ess", "acceptance", "stuck")
        return {name: getattr(self, name) for name in names}


@torch.no_grad()
def conditional_sample(
    flow: Flow,
    x: Tensor,
    free: Tensor,
    context: Tensor | None = None,
    gaps: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> tuple[Tensor, Conditioning]:
    """Rows (n, D) ~ p(x_free | x_given, context): a draw of the free elements for each row of x.

    Let v be the row next to the data, where the columns are about normal, and q the Gaussian of
    the flow's own samples of v. A candidate is a draw v_free ~ q(v_free | v_given), weighted by
    w = p(v_free, v_given) / q(v_free | v_given); each row takes one of its candidates by their
    weights (sampling importance resampling), until 12 of them count or there are 128. It then
    makes 32 moves. One of size s mixes its noise with new noise, sqrt(1 - s^2) z + s e, which
    leaves q as it is, and is accepted with probability min(1, w' / w): the limit is exact. A given
    value on a lattice stands for its whole step: its lifted value is drawn with each candidate.
    So is what fills a gap that is given, whose density divides w.

    A flow of any order, `TarFlow(order="any")`, of vectors or images, needs none of this: with
    what is given first, each draw is exact (`caudal.conditioning.completion.complete`).

    References: Rubin, The calculation of posterior distributions by data augmentation: comment,
    1987 (resampling); Cotter, Roberts, Stuart, White, MCMC methods for functions: modifying old
    algorithms to make them faster, 2013, arXiv:1202.0709 (the moves).

    Args:
        flow: of vectors, whose density is not estimated; or of any order.
        x: (n, D) in data units, or (n, *event); what its free elements hold does not matter.
        free: bool, of the shape of x, the elements to draw; a patch of an image is drawn whole.
        context: one row for all samples, or n rows.
        gaps: (D,), the code of a missing category, NaN elsewhere; if given, free elements are
            drawn as if they are not missing. Else they may be, as the flow has learned.
        generator: for all random numbers, on the device of the flow.

    Raises:
        InputError: the flow is not of vectors, or its density is an estimate; or NaN is given for
            a column without gaps.
        NumericalError: the density of a candidate is not a number.
    """
    direct = completes(flow)
    if not direct and (len(flow.event_shape) != 1 or flow.estimated):
        raise InputError(
            f"conditioning requires a flow of vectors with an exact density, or a flow of any "
            f"order, and this one has events {flow.event_shape}, {flow.kind}"
        )
    _refuse_gaps(flow, x, free)
    direct = direct and not lifted_masks(~free, flow.dequantization, gaps is not None)[1].any()
    context = per_row(context, (len(x),), flow.context_shape)
    drawn, accounts = [], []
    numbers = math.prod(flow.base.event_shape)
    size = _TOKENS // numbers if direct else len(x)
    if len(flow.event_shape) == 1:  # each row has a covariance
        size = min(size, _NUMBERS // numbers**2)
    size = max(1, size)
    for part in (slice(start, start + size) for start in range(0, len(x), size)):
        some = None if context is None else context[part]
        if direct:
            made = complete(flow, x[part], free[part], some, gaps, generator)
            if made.done.all():
                moves = torch.zeros(len(made.x), dtype=torch.int32)
                drawn.append(made.x)
                accounts.append(Conditioning(made.candidates, 0, made.shares.cpu(), moves))
                continue
        rows = Candidates(flow, x[part], free[part], some, gaps, generator)
        v, account = _walked(rows, generator)
        drawn.append(torch.where(free[part], rows.lowered(v), x[part]))
        accounts.append(account)
    return torch.cat(drawn), Conditioning.join(accounts)


def _refuse_gaps(flow: Flow, x: Tensor, free: Tensor) -> None:
    """Raises InputError for NaN that is given where the flow has no gaps."""
    wrong = x.isnan() & ~free
    if isinstance(flow.dequantization, TableDequantization):
        wrong = wrong & ~flow.dequantization.missing
    if wrong.any():
        place = wrong.nonzero()[0].tolist()
        raise InputError(
            f"`x{place}`, of row {place[0] + 1} and column {place[1] + 1}, is given as NaN, and "
            f"the flow has no gaps there: give a number, or make it free"
        )


def _walked(rows: Candidates, generator: torch.Generator | None) -> tuple[Tensor, Conditioning]:
    """Points v (n, D + M) after all moves, and how it went."""
    state, candidates, shares = _resampled(rows, generator)
    moves = torch.zeros(len(shares), dtype=torch.int32, device=shares.device)
    for step in range(STEPS):
        new = rows.candidates(state, SIZES[step % len(SIZES)])
        moved = uniform(state.log_w, generator).log() < new.log_w - state.log_w
        state = _chosen(moved, new, state)
        moves += moved
    return state.v, Conditioning(candidates, STEPS, shares.cpu(), moves.cpu())


def _resampled(rows: Candidates, generator: torch.Generator | None) -> tuple[State, int, Tensor]:
    """One of its candidates for each row, how many there were, and their effective share (n,)."""
    state = rows.candidates()
    total, squares = state.log_w, 2 * state.log_w
    for count in range(2, CANDIDATES + 1):
        new = rows.candidates()
        total = torch.logaddexp(total, new.log_w)
        squares = torch.logaddexp(squares, 2 * new.log_w)
        taken = uniform(total, generator).log() < new.log_w - total
        state = _chosen(taken, new, state)
        effective = (2 * total - squares).exp().nan_to_num(0.0)  # NaN where all weights are 0
        if count % ROUND == 0 and effective.median() >= ENOUGH:
            break
    return state, count, effective / count


def _chosen(mask: Tensor, new: State, old: State) -> State:
    """The new state of the rows in a mask (n,), the old one of the others."""
    at = mask[:, None]
    z, y, log_q, v = (torch.where(at, a, b) for a, b in zip(new[:4], old[:4], strict=True))
    return State(z, y, log_q, v, torch.where(mask, new.log_w, old.log_w))
