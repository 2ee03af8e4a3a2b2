"""Samples of some columns of a flow given the others: exact, or weighted and then Metropolis."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from caudal.base import Normal
from caudal.bijection import Chain, parts_of
from caudal.bijections import Correlate, Gaussianise, Support
from caudal.broadcasting import per_row
from caudal.completion import complete, completes, lifted_mask
from caudal.errors import InputError, NumericalError
from caudal.flow import Flow
from caudal.numerics import normal, uniform

CANDIDATES, ROUND, ENOUGH = 128, 16, 12
"""Candidates of a row at most, how many come at a time, and how many effective ones are enough."""
SIZES = (1.0, 0.3, 0.1, 0.03)
STEPS = 8 * len(SIZES)
"""Sizes of moves, in turn, and how many moves there are: 1 forgets where a row is."""
_FITTED_ROWS = 4096
_NUMBERS = 1 << 24  # numbers in the covariances that are held at a time
_TOKENS = 1 << 17  # numbers of the rows that a flow of any order draws at a time
_RIDGE = 1e-4  # share of the variances, added: two given columns may say the same


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


class _State(NamedTuple):
    """Where rows are: noise z, lifted y of what is given, point v, all (n, D + M); log w, (n,)."""

    z: Tensor
    y: Tensor
    v: Tensor
    log_w: Tensor


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

    A flow of any order, `TarFlow(order="any")`, of vectors or images, needs none of this: with
    what is given first, each draw is exact (`caudal.completion.complete`).

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
        InputError: the flow is not of vectors, or its density is an estimate.
        NumericalError: the density of a candidate is not a number.
    """
    direct = completes(flow)
    if not direct and (len(flow.event_shape) != 1 or flow.estimated):
        raise InputError(
            f"conditioning requires a flow of vectors with an exact density, or a flow of any "
            f"order, and this one has events {flow.event_shape}, {flow.kind}"
        )
    context = per_row(context, (len(x),), flow.context_shape)
    drawn, accounts = [], []
    numbers = math.prod(flow.base.event_shape)
    size = max(1, _TOKENS // numbers if direct else _NUMBERS // numbers**2)
    for part in (slice(start, start + size) for start in range(0, len(x), size)):
        some = None if context is None else context[part]
        if direct:
            made = complete(flow, x[part], free[part], some, gaps, generator)
            if made.done.all():
                moves = torch.zeros(len(made.x), dtype=torch.int32)
                drawn.append(made.x)
                accounts.append(Conditioning(made.candidates, 0, made.shares.cpu(), moves))
                continue
        rows = _Rows(flow, x[part], free[part], some, gaps, generator)
        v, account = _walked(rows, generator)
        drawn.append(torch.where(free[part], rows.lowered(v), x[part]))
        accounts.append(account)
    return torch.cat(drawn), Conditioning.join(accounts)


def _walked(rows: "_Rows", generator: torch.Generator | None) -> tuple[Tensor, Conditioning]:
    """Points v (n, D + M) after all moves, and how it went."""
    state, candidates, shares = _resampled(rows, generator)
    moves = torch.zeros(len(shares), dtype=torch.int32, device=shares.device)
    for step in range(STEPS):
        new = rows.candidates(state, SIZES[step % len(SIZES)])
        moved = uniform(state.log_w, generator).log() < new.log_w - state.log_w
        state = _chosen(moved, new, state)
        moves += moved
    return state.v, Conditioning(candidates, STEPS, shares.cpu(), moves.cpu())


def _resampled(rows: "_Rows", generator: torch.Generator | None) -> tuple[_State, int, Tensor]:
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


def _chosen(mask: Tensor, new: _State, old: _State) -> _State:
    """The new state of the rows in a mask (n,), the old one of the others."""
    at = mask[:, None]
    z, y, v = (torch.where(at, a, b) for a, b in zip(new[:3], old[:3], strict=True))
    return _State(z, y, v, torch.where(mask, new.log_w, old.log_w))


class _Rows:
    """Rows some of whose elements are given, and candidates for the others."""

    def __init__(
        self,
        flow: Flow,
        x: Tensor,
        free: Tensor,
        context: Tensor | None,
        gaps: Tensor | None,
        generator: torch.Generator | None,
    ) -> None:
        self.context, self.gaps, self.generator = context, gaps, generator
        self.lift, self.lower = flow.lift, flow.dequantization and flow.dequantization.lower
        parts = parts_of(flow.bijection)
        inner = parts[:-1] if isinstance(parts[-1], Gaussianise | Support) else parts
        self.outer = Chain(parts[len(inner) :])
        self.target = _of(flow, Chain(inner))
        self.law, self.covariance = fitted_law(self.target, context, len(x), generator)
        self.embedded = flow.embed_linear(context)
        self.mean = self.law.bijection(x.new_zeros(len(x), len(self.covariance)), self.embedded)[0]
        self.known = lifted_mask(~free, flow.dequantization, gaps is not None)
        self.inverses, self.pattern = _inverses(self.covariance, self.known)
        self.middle = self.outer(torch.zeros_like(self.mean))[0]
        self.middle[:, free.shape[1] :] = 0.5  # the flag of a value that is there
        middle = self.lower(self.middle) if self.lower else self.middle
        self.x = torch.where(free, middle, x)
        self.barred, *self.gap_ends = self._gap_places(free)

    def candidates(self, state: _State | None = None, size: float = 1.0) -> _State:
        """New candidates, or moves of a size from a state."""
        noise = normal(self.mean, self.generator)
        lifted, log_q = self.lift(self.x, self.generator)
        y = torch.where(self.known, lifted, self.middle)
        if state is None:
            z = noise
        else:
            z = math.sqrt(1 - size**2) * state.z + size * noise
            y = torch.where(uniform(y, self.generator) < size, y, state.y)
        # The part of the free columns is the same each time.
        known, log_slope = self.outer.inverse(y)
        drawn = self.law.bijection(z, self.embedded)[0]
        away = torch.where(self.known, known - drawn, 0.0)
        v = torch.where(self.known, known, drawn + self._solve(away) @ self.covariance)
        log_w = log_slope - self._log_q(v)
        v, log_slope = self._off_gaps(v)
        log_w = log_w + log_slope + self.target.log_prob(v, self.context)
        if (log_w.isnan() | (log_w == torch.inf)).any():
            raise NumericalError(
                "the density of a candidate is not a number: the flow is damaged, train it again"
            )
        impossible = (log_q == torch.inf) | self._has_gap(v)
        return _State(z, y, v, log_w.double().masked_fill(impossible, -torch.inf))

    def lowered(self, v: Tensor) -> Tensor:
        """The data (n, D) at points v."""
        y = self.outer(v)[0]
        return self.lower(y) if self.lower else y

    def _gap_places(self, free: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Which elements (n, D + M) are free and must be no gap, and the ends of gaps there."""
        barred, ends = torch.zeros_like(self.known), []
        if self.gaps is None:
            return barred, self.mean, self.mean
        features = free.shape[1]
        barred[:, :features] = free & ~self.gaps.isnan()
        for end, beyond in ((self.gaps, -torch.inf), (self.gaps + 1, torch.inf)):
            y = self.middle.clone()
            y[:, :features] = torch.where(end.isnan(), y[:, :features], end)
            v = self.outer.inverse(y)[0]
            ends.append(torch.where(v.isfinite(), v, beyond))
        return barred, ends[0], ends[1]

    def _off_gaps(self, v: Tensor) -> tuple[Tensor, Tensor]:
        """Points in which no free category is a gap, and the log-slope of the map to them (n,).

        With F the column's normal distribution function, and a gap between a and b, a point goes
        to F^-1(u) with u = F(v) (1 - F(b) + F(a)), beyond a to F^-1(u + F(b) - F(a)): a category
        of which nearly all values are missing is found all the same.
        """
        if not self.barred.any():
            return v, torch.zeros_like(v[:, 0])
        mean, spread = self.mean.double(), self.covariance.diagonal().double().sqrt()
        z, low, high = ((each.double() - mean) / spread for each in (v, *self.gap_ends))
        below, within = torch.special.ndtr(low), torch.special.ndtr(high) - torch.special.ndtr(low)
        share = torch.special.ndtr(z) * (1 - within)
        share = torch.where(share < below, share, share + within)
        moved = torch.special.ndtri(share.clamp(1e-300, 1 - 1e-16))
        slope = torch.log1p(-within) + (moved.square() - z.square()) / 2
        log_slope = torch.where(self.barred, slope, 0.0).sum(1)
        return torch.where(self.barred, (mean + spread * moved).to(v), v), log_slope.to(v)

    def _log_q(self, v: Tensor) -> Tensor:
        """Log q(v_free | v_given) = log q(v) - log q(v_given), up to a constant of the row."""
        away = torch.where(self.known, v - self.mean, 0.0)
        return self.law.log_prob(v, self.embedded) + 0.5 * (away * self._solve(away)).sum(1)

    def _solve(self, given: Tensor) -> Tensor:
        """C^-1 e of vectors e (n, D + M), C the covariance of what is given in each row."""
        if len(self.inverses) == 1:
            return given @ self.inverses[0]
        return torch.einsum("nd,nde->ne", given, self.inverses[self.pattern])

    def _has_gap(self, v: Tensor) -> Tensor:
        """Mask (n,) of the rows with a category that stands for a gap where there may be none."""
        if self.gaps is None or self.gaps.isnan().all():
            return torch.zeros(len(v), dtype=torch.bool, device=v.device)
        return (self.lowered(v) == self.gaps).any(1)


def fitted_law(
    flow: Flow, context: Tensor | None, n: int, generator: torch.Generator | None
) -> tuple[Flow, Tensor]:
    """The Gaussian of a flow's own samples, linear in the embedded context, and its covariance.

    Args:
        flow: of vectors v (B, D).
        context: n rows, which the samples take in turn, or None.
        n: the number of rows.
        generator: for the samples.
    """
    (features,) = flow.base.event_shape
    rows = max(_FITTED_ROWS, 8 * features)
    if context is not None:
        context = context[torch.arange(rows, device=context.device) % n]
    embedded = flow.embed_linear(context)
    sizes = features, 0 if embedded is None else embedded.shape[1]
    linear = Correlate(*sizes).to(flow.base.like)
    linear.observe(flow.sample(rows, context, generator=generator), embedded)
    shape = None if embedded is None else embedded.shape[1:]
    law = Flow(linear, Normal((features,)).to(flow.base.like), context_shape=shape)
    return law, linear.factor @ linear.factor.T


def _of(flow: Flow, bijection: Chain) -> Flow:
    """The flow of a part of another's bijection, without its dequantisation."""
    shape, embedding = flow.context_shape, flow.embedding
    part = Flow(bijection, flow.base, context_shape=shape, embedding=embedding)
    part.training = flow.training  # the modules keep their own
    return part


def _inverses(covariance: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    """The inverse of what is known of a covariance (D, D), for each pattern of known elements.

    Returns:
        Inverses (P, D, D), 0 in the rows and columns of what is not known, and the pattern of each
        row (n,).
    """
    patterns, pattern = known.unique(dim=0, return_inverse=True)
    both = patterns[:, :, None] & patterns[:, None, :]
    eye = torch.eye(len(covariance), dtype=torch.float64, device=covariance.device)
    ridged = covariance.double() + _RIDGE * eye * covariance.diagonal()
    inverses = torch.linalg.inv(torch.where(both, ridged, eye)) * both
    return inverses.to(covariance.dtype), pattern
