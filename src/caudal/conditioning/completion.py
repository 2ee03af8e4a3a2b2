"""Events of a flow of any order completed from some of their tokens, exactly."""

from typing import NamedTuple

import torch
from torch import Tensor

from caudal.base import Normal
from caudal.bijection import Bijection, Chain, Within, parts_of
from caudal.bijections import (
    ActNorm,
    AnyOrder,
    Flattened,
    Gaussianise,
    Latitude,
    Logit,
    Patches,
    Rescale,
    Standardise,
    Support,
)
from caudal.conditioning.law import lifted, lifted_masks
from caudal.dequantization import TableDequantization
from caudal.errors import NumericalError
from caudal.flow import Flow
from caudal.numerics import normal, uniform

CANDIDATES, ROUND, ENOUGH = 128, 16, 12
"""Draws of the noise within the steps of what is given, at most, how many come at a time, and how
many effective ones are enough."""
_TRIES = 100  # of draws in which no category is a gap, where none may be
_ALONE = (ActNorm, Gaussianise, Latitude, Logit, Rescale, Standardise, Support)
"""Maps of each element by itself, which leave the tokens what they are."""


class Completed(NamedTuple):
    """Rows that were completed.

    Attributes:
        x: (n, *event).
        candidates: how many draws of the noise within steps each row had.
        shares: their effective size as a share of their number, (n,); 0 for a row that cannot be.
        done: mask (n,) of the rows that are complete; others would have a gap where there may be
            none, after a hundred draws.
    """

    x: Tensor
    candidates: int
    shares: Tensor
    done: Tensor


class _Way(NamedTuple):
    """From the data to the tokens: maps of each element, listed from the noise; views; tokens."""

    maps: list[Bijection]
    views: list[Within]
    tokens: AnyOrder


def completes(flow: Flow) -> bool:
    """Whether a flow draws any of its tokens given the others exactly: it has any order.

    A column that is not below others, and is given without all of them, is no token that is given.
    """
    return isinstance(flow.base, Normal) and _way(flow.bijection) is not None


def hidden_tokens(flow: Flow, free: Tensor) -> Tensor:
    """The elements (n, *event) of the tokens with a free element: patches are drawn whole."""
    way = _way(flow.bijection)
    if way is None or not way.views:
        return free
    tokens = _tokens(way, free)
    whole = tokens.any(1, keepdim=True).expand_as(tokens)
    return _event(way, whole)


@torch.no_grad()
def complete(
    flow: Flow,
    x: Tensor,
    free: Tensor,
    context: Tensor | None = None,
    gaps: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> Completed:
    """Draws x_free ~ p(x_free | x_given, context) for rows (n, *event) of a flow of any order.

    With the given tokens first, o = (given, free), their noise is known, and that of the others is
    drawn anew: a pass for the density of what is given, and then as many steps as a sample takes.
    No weights and no moves are needed where what is given is continuous. Among the given tokens,
    and among the others, each row has an order of its own, so that draws follow the mean of the
    conditionals in all such orders: by Jensen's inequality its log-density is not below the mean
    of theirs.

    A value of a table that is given in steps stands for its whole step. Its place y in there comes
    from 16 draws, of which one is taken by its density p(y_given) (sampling importance
    resampling); as training fills steps evenly, nearly all of them count, and where they do not
    more are drawn. A gap that is given is filled by draws of its column's density q, and weighed
    by p(y_given) / q. Pixels, whose steps are fine and many, have one draw of that noise.

    Args:
        flow: one for which `completes` is true, in evaluation mode.
        x: (n, *event) in data units; what its free elements hold does not matter.
        free: bool, (n, *event), the elements to draw; patches with a free pixel are drawn whole.
        context: n rows.
        gaps: as of `conditional_sample`.
        generator: for all random numbers.

    Raises:
        NumericalError: the density of what is given is not a number.
    """
    way = _way(flow.bijection)
    assert way is not None
    free = hidden_tokens(flow, free)
    known, _ = lifted_masks(~free, flow.dequantization, gaps is not None)
    hidden = (~_tokens(way, known)).any(1) if way.views else ~known  # (n, T)
    rows = _Rows(flow, way, x, free, known, hidden.sum(1), flow.embed(context))
    order = (hidden + uniform(x.new_empty(hidden.shape), generator)).argsort(1)
    out, shares = torch.empty_like(x), x.new_zeros(len(x))
    done, most = torch.ones(len(x), dtype=torch.bool, device=x.device), 1
    for count in rows.hidden.unique().tolist():  # rows of which as much is given go together
        some = (rows.hidden == count).nonzero().flatten()
        part = rows.only(some)
        first, share = _first(part, order[some, : order.shape[1] - count], generator)
        most = max(most, share[0])
        out[some], done[some] = _drawn(part, first, order[some], gaps, generator)
        shares[some] = share[1]
    return Completed(torch.where(free, out, x), most, shares, done | (shares == 0))


class _Rows(NamedTuple):
    """Rows some of whose elements are given, and how many tokens of each are hidden, (n,)."""

    flow: Flow
    way: _Way
    x: Tensor
    free: Tensor
    known: Tensor
    hidden: Tensor
    embedded: Tensor | None

    def only(self, rows: Tensor) -> "_Rows":
        """Some of the rows."""
        x, free, known, hidden = (t[rows] for t in self[2:6])
        embedded = None if self.embedded is None else self.embedded[rows]
        return _Rows(self.flow, self.way, x, free, known, hidden, embedded)

    def lowered(self, tokens: Tensor) -> Tensor:
        """Data (n, *event) of tokens."""
        y = Chain(self.way.maps)(_event(self.way, tokens))[0]
        steps = self.flow.dequantization
        return steps.lower(y) if steps else y


def _first(
    rows: _Rows, order: Tensor, generator: torch.Generator | None
) -> tuple[Tensor, tuple[int, Tensor]]:
    """Noise (n, *rest, k) of what is given, in its order; how many draws, and how many count."""
    maps, steps = Chain(rows.way.maps), rows.flow.dequantization
    middle = maps(rows.known.to(rows.x).zero_())[0]
    middle[:, rows.x.shape[1] :] = 0.5  # the flag of a value that is there
    x = torch.where(rows.free, steps.lower(middle) if steps else middle, rows.x)

    def draw() -> tuple[Tensor, Tensor, Tensor]:
        y, log_q = lifted(rows.flow, x, generator)
        y = torch.where(rows.known, y, middle)
        log_q = torch.where(rows.known, log_q, 0.0).flatten(1).sum(1)
        impossible = log_q == torch.inf
        tokens, log_slope = maps.inverse(y)
        tokens = _tokens(rows.way, tokens)
        z, log_det = rows.way.tokens.noise_of_first(tokens, order, rows.embedded)
        log_w = log_slope + log_det - 0.5 * z.square().flatten(1).sum(1)
        log_w = log_w - torch.where(impossible, 0.0, log_q)
        return y, z, log_w.double().masked_fill(impossible, -torch.inf)

    drawn = [draw()]
    if isinstance(steps, TableDequantization):
        drawn.append(draw())
        if torch.equal(drawn[0][0], drawn[1][0]):  # nothing in steps is given
            drawn.pop()
    rounds = range(1, 2) if len(drawn) == 1 else range(ROUND, CANDIDATES + 1, ROUND)
    for count in rounds:
        drawn += [draw() for _ in range(count - len(drawn))]
        weights = _weights(torch.stack([log_w for _, _, log_w in drawn]))
        effective = weights.square().sum(0).reciprocal().nan_to_num(0.0, posinf=0.0)
        if effective.median() >= ENOUGH:
            break
    below = weights.cumsum(0) < uniform(weights[0], generator)
    taken = below.sum(0).clamp(max=count - 1)
    z = torch.stack([z for _, z, _ in drawn])[taken, torch.arange(len(taken), device=x.device)]
    return z, (count, (effective / count).to(rows.x))


def _weights(log_w: Tensor) -> Tensor:
    """The weights of candidates (K, n), of sum 1; 0 where all are 0."""
    if (log_w.isnan() | (log_w == torch.inf)).any():
        raise NumericalError(
            "the density of what is given is not a number: the flow is damaged, train it again"
        )
    return (log_w - log_w.logsumexp(0)).exp().nan_to_num(0.0)


def _drawn(
    rows: _Rows,
    first: Tensor,
    order: Tensor,
    gaps: Tensor | None,
    generator: torch.Generator | None,
) -> tuple[Tensor, Tensor]:
    """Data whose first tokens have this noise, and which rows (n,) have no gap they may not have.

    Rows in which a category is a gap where it must not be are drawn again.
    """
    shape = (*first.shape[:-1], order.shape[1] - first.shape[-1])
    others = normal(first.new_empty(shape), generator)
    tokens = rows.way.tokens
    x = rows.lowered(tokens.completed(first, others, order, rows.embedded))
    left = _with_gap(x, rows.free, gaps)
    for _ in range(_TRIES if gaps is not None else 0):
        if not len(left):
            break
        others = normal(first.new_empty((len(left), *shape[1:])), generator)
        some = rows.only(left)
        drawn = tokens.completed(first[left], others, order[left], some.embedded)
        x[left] = some.lowered(drawn)
        left = left[_with_gap(x[left], some.free, gaps)]
    done = torch.ones(len(x), dtype=torch.bool, device=x.device)
    done[left] = False
    return x, done


def _with_gap(x: Tensor, free: Tensor, gaps: Tensor | None) -> Tensor:
    """The numbers of the rows with a free category that is a gap where there may be none."""
    if gaps is None:
        return torch.empty(0, dtype=torch.long, device=x.device)
    return ((x == gaps) & free).any(1).nonzero().flatten()


def _way(bijection: Bijection) -> _Way | None:
    """The way to the tokens; None for a flow of one order, or whose maps mix the tokens."""
    if isinstance(bijection, AnyOrder):
        return _Way([], [], bijection)
    if isinstance(bijection, Patches):
        way = _way(bijection.bijection)
        return way and (None if way.maps else way._replace(views=[bijection, *way.views]))
    if not isinstance(bijection, Chain) or not len(bijection.parts):
        return None
    first, *others = parts_of(bijection)
    way = _way(first)
    if way is None or not all(map(_is_alone, others)):
        return None
    return way._replace(maps=[*way.maps, *others])


def _is_alone(part: Bijection) -> bool:
    """Whether a bijection maps each element by itself."""
    return isinstance(part.bijection if isinstance(part, Flattened) else part, _ALONE)


def _tokens(way: _Way, event: Tensor) -> Tensor:
    """The tokens (n, *rest, T) of events (n, *event)."""
    for view in way.views:
        event = view.take(event)
    return event


def _event(way: _Way, tokens: Tensor) -> Tensor:
    """The events (n, *event) that tokens make: patches are all of an image."""
    for view in reversed(way.views):
        tokens = view.put(tokens, tokens)
    return tokens
