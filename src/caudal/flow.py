"""A bijection and a base density make a flow, which has densities and samples."""

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from caudal.base import Base, Normal
from caudal.bijection import (
    Bijection,
    Chain,
    Direction,
    estimated_parts,
    in_pieces,
    indented,
    kind_of,
    refuse_repeats,
)
from caudal.bijections import in_order, winds
from caudal.broadcasting import (
    Batched,
    Door,
    Rowlike,
    as_rows,
    leading,
    per_row,
    sample_shape,
)
from caudal.dequantization import Dequantization, log_mass
from caudal.errors import InputError
from caudal.numerics import RowGenerator, bound, drawing, mean_and_error, values_alone

DRAWS = 4  # for a score with a standard error, unless another number is asked for


class Origin(NamedTuple):
    """What a flow was built from, so that a model file can name it.

    Attributes:
        recipe: the recipe.
        schema: of the data that the flow was dressed for; None for plain tensors.
        standardised: whether a flow for plain tensors was built with standardisation.
    """

    recipe: Any
    schema: Any = None
    standardised: bool = False


class Flow(Door):
    """The density of x = bijection(z), z ~ base: log p(x) = log p(z) + log|det dz/dx|.

    `kind` says whether `log_prob` is exact, a lower bound, or an estimate. `origin` is what a
    recipe has built it from; None for a flow built by hand.

    Args:
        bijection: the map from noise z to data x.
        base: the density of the noise; its event shape is the bijection's. Another flow may stand
            here, without context and dequantisation, whose samples are then the noise.
        context_shape: the shape of one row of context, for a conditional flow. It and the event
            shape may contain a length of -1, which differs from batch to batch.
        embedding: a module that turns raw context into that of the bijection.
        dequantization: for data in steps or with missing values; log_prob is then a lower bound,
            but for a single column of few values, each of which has its mass exactly.

    Log-densities are in nats, with respect to the units of x. Rows and contexts are tensors in the
    dtype and on the device of the flow, or NumPy arrays, which become such tensors; what else does
    not fit raises `InputError`. The shapes before the event and before the context broadcast: one
    context for many rows, rows for many contexts, or (S, B, *event) with context (B, *context).
    """

    bijection: Bijection
    base: Base
    dequantization: Dequantization | None
    origin: Origin | None = None

    def __init__(
        self,
        bijection: Bijection,
        base: "Base | Flow",
        *,
        context_shape: Sequence[int] | None = None,
        embedding: nn.Module | None = None,
        dequantization: Dequantization | None = None,
    ) -> None:
        super().__init__()
        if isinstance(base, Flow):
            if base.context_shape is not None or base.dequantization is not None:
                raise InputError("a flow as `base` must have no context and no dequantisation")
            bijection = Chain([base.bijection, bijection])
        refuse_repeats(bijection)
        self.bijection = bijection
        self.base = base.base if isinstance(base, Flow) else base
        self.embedding = embedding
        self.dequantization = dequantization
        self.event_shape = dequantization.event_shape if dequantization else base.event_shape
        self.context_shape = None if context_shape is None else tuple(context_shape)

    @property
    def like(self) -> Tensor:
        return self.base.like

    @property
    def kind(self) -> str:
        """The kind of `log_prob` in evaluation mode, in words.

        It is "exact", or a "lower bound" with dequantisation. If a log-det is too expensive and is
        estimated, it is an "unbiased estimate", whose mean over draws is right, or a "biased
        estimate", which is off by up to `bias_bound`; with dequantisation, "of a lower bound".
        """
        return kind_of(self.bijection, self.filled)

    @property
    def filled(self) -> bool:
        """Whether `log_prob` depends on the noise that fills steps and gaps."""
        steps = self.dequantization
        return steps is not None and steps.fills and not self.counts

    @property
    def counts(self) -> bool:
        """Whether `log_prob` is the mass of one value out of few, between the ends of its cell."""
        steps, base = self.dequantization, self.base
        is_one = steps is not None and steps.counted and base.event_shape == (1,)
        rises = is_one and not self.estimated and not winds(self.bijection)
        return rises and isinstance(base, Normal)

    @property
    def estimated(self) -> bool:
        """Whether `log_prob` contains an estimated log-det, and so differs from draw to draw."""
        return bool(estimated_parts(self.bijection))

    @property
    def noisy(self) -> bool:
        """Whether `log_prob` differs from draw to draw, by an estimate or by dequantisation."""
        return self.estimated or self.filled

    def bias_bound(self) -> float:
        """The largest possible bias of the mean of `log_prob` over draws, in nats an event."""
        parts = estimated_parts(self.bijection)
        return math.fsum(part.bias_bound() for part in parts if part.kind == "biased")

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Calls `log_prob`, for tools that call modules (export, data parallelism)."""
        return self.log_prob(x, context)

    def log_prob(
        self,
        x: Rowlike,
        context: Rowlike | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Log-density of x (B, *event) in nats, (B,); -inf outside the support, NaN for NaN.

        x may have any shape (*batch, *event), with context of any that broadcasts with it.
        `generator` draws the dequantisation noise, if any, and then the estimates, anew for each
        row. The noise of a `caudal.numerics.RowGenerator` belongs to the values of a row and its
        context, so that a score does not depend on the other rows. Without a generator estimates
        use the same random numbers each time: repeated scores are equal, but their errors do not
        average out over rows. (In training estimates are always new.)
        """
        x, context, batch = self._rows(x, context)
        return batch.split(self._log_prob(x, context, generator))

    def _log_prob(
        self, x: Tensor, context: Tensor | None, generator: torch.Generator | None
    ) -> Tensor:
        """Log-density of rows x (B, *event), each with its own context."""
        if self.counts:
            return self._log_mass(x, context)
        generator = self._bound(generator, x, context)
        y, log_q = self.lift(x, generator)
        context = self._context(context, x.shape[0])
        with self._estimating(generator):
            z, log_det = self._run(self.bijection.inverse, y, context)
        log_prob = self.base.log_prob(z) + (log_det - log_q)
        # Nets would make infinite rows NaN, and so may those whose squares overflow.
        largest = x.abs().flatten(1).amax(1)
        far = (largest > torch.finfo(x.dtype).max ** 0.5) & log_prob.isnan()
        return torch.where(far | (largest == torch.inf), -torch.inf, log_prob)

    def log_prob_with_error(
        self,
        x: Rowlike,
        context: Rowlike | None = None,
        draws: int = DRAWS,
        generator: torch.Generator | None = None,
    ) -> tuple[Tensor, Tensor]:
        """The mean of several draws of `log_prob` and its standard error, in nats, each (B,).

        A draw has new dequantisation noise and new estimates. The error is that of the mean over
        them, from the spread of at least four parts of the draws, so itself uncertain. Draws of a
        `RowGenerator` with strata err less than the error says, as their parts are not
        independent. It contains neither the bias of estimates nor the gap between a lower bound
        and the log-probability. Where nothing is drawn it is 0, after one pass. The flow should be
        in evaluation mode. Without a generator the draws of a row are stratified, and the same
        each time, whatever other rows there are.
        """
        if draws < 2:
            raise InputError(f"`draws` must be at least 2 for a standard error, got {draws}")
        if not self.noisy:
            log_prob = self.log_prob(x, context)
            return log_prob, torch.zeros_like(log_prob)
        if generator is None:
            generator = RowGenerator(self.base.like.device, strata=draws)
        drawn = [self.log_prob(x, context, generator) for _ in range(draws)]
        return mean_and_error(torch.stack(drawn))

    def sample(
        self,
        n: int | Sequence[int],
        context: Rowlike | None = None,
        temperature: float = 1.0,
        generator: torch.Generator | None = None,
        length: int | None = None,
    ) -> Tensor:
        """N samples (n, *event), without gradient; `length` is for events whose length is free.

        `context` is one row for all samples, or n rows. If n is a shape instead of a number, there
        are that many samples of each context: (*n, *batch, *event) for context (*batch, *context).
        `temperature` multiplies the noise: below 1 it gives likelier, less varied samples, which
        no longer follow the density.
        """
        with torch.no_grad():
            z, context, batch = self._noise(n, context, temperature, generator, length)
            return batch.split(self.decode(z, context))

    def sample_with_log_prob(
        self,
        n: int | Sequence[int],
        context: Rowlike | None = None,
        temperature: float = 1.0,
        generator: torch.Generator | None = None,
        length: int | None = None,
    ) -> tuple[Tensor, Tensor]:
        """N samples, reparameterised (gradients flow), and their log-density in nats, (n,).

        One pass gives both; `n` and `context` are as in `sample`. With a temperature, the density
        is still that of temperature 1. With dequantisation it is that of the continuous draw,
        before rounding, which stops gradients.
        `generator` draws the noise, and then the estimates, as in `log_prob`.
        """
        z, context, batch = self._noise(n, context, temperature, generator, length)
        context = self._context(context, z.shape[0])
        with self._estimating(generator):
            x, log_det = self._run(self.bijection, z, context)
        log_prob = self.base.log_prob(z) - log_det
        return batch.split(self._as_data(x)), batch.split(log_prob)

    def encode(
        self,
        x: Rowlike,
        context: Rowlike | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """The noise z (*batch, *event of the base) from which the flow makes x."""
        x, context, batch = self._rows(x, context)
        y, _ = self.lift(x, generator, context)
        context = self._context(context, x.shape[0])
        with _without_log_dets():
            z, _ = self._run(self.bijection.inverse, y, context)
        return batch.split(z.contiguous())

    def decode(self, z: Rowlike, context: Rowlike | None = None) -> Tensor:
        """The data x that the flow makes from noise z (*batch, *event of the base)."""
        z, context, batch = self._rows(z, context, "`z`", self.base.event_shape)
        context = self._context(context, z.shape[0])
        with _without_log_dets():
            x, _ = self._run(self.bijection, z, context)
        return batch.split(self._as_data(x))

    def lift(
        self,
        x: Tensor,
        generator: torch.Generator | None = None,
        context: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Data x as input of the bijection, and its log q in the bound (see `Dequantization`).

        The context matters to a `RowGenerator` alone, whose noise belongs to it too.
        """
        self._check(x, self.event_shape, "`x`")
        if self.dequantization is None:
            return x, x.new_zeros(x.shape[0])
        return self.dequantization.lift(x, self._bound(generator, x, context))

    def continuous(self) -> "Flow":
        """The density of lifted rows (see `lift`): a flow of the same modules, not dequantised.

        Its samples are those that `sample` rounds, and its log_prob has no dequantisation noise:
        it is exact unless it is estimated. So flows of one table can be compared row by row.
        """
        if self.dequantization is None:
            return self
        shape, embedding = self.context_shape, self.embedding
        flow = Flow(self.bijection, self.base, context_shape=shape, embedding=embedding)
        flow.training = self.training  # each module keeps its own mode
        return flow

    def in_order(self, order: Sequence[int]) -> "Flow":
        """The flow of the same modules that takes its tokens in a fixed order, in training too.

        It is for flows of any order, `TarFlow(order="any")`: of vectors the tokens are columns, of
        images patches in raster order. Every order has a density of its own, which is exact; the
        usual one is that of the data. The mean of several of these densities,
        log_prob = logsumexp_k log p_k(x) - log K, is a density too, and mostly a better one.

        Args:
            order: each of 0..T-1 once, for T tokens.

        Raises:
            InputError: the flow has one order, or `order` is none of its tokens.
        """
        try:
            bijection = in_order(self.bijection, order)
        except ValueError as error:
            raise InputError(str(error)) from error
        return self.through(bijection)

    def through(self, bijection: Bijection) -> "Flow":
        """The same flow with another bijection, which may share its parts with this one."""
        shape, embedding, steps = self.context_shape, self.embedding, self.dequantization
        flow = Flow(
            bijection, self.base, context_shape=shape, embedding=embedding, dequantization=steps
        )
        flow.training = self.training  # each module keeps its own mode
        return flow

    def distribution(self, context: Tensor | None = None) -> torch.distributions.Distribution:
        """A `torch.distributions` view; `context` is one row, or B rows for batch shape (B,)."""
        from caudal.distribution import FlowDistribution

        return FlowDistribution(self, context)

    def __repr__(self) -> str:
        lines = [f"  base: {indented(self.base)}", f"  bijection: {indented(self.bijection)}"]
        if self.context_shape is not None:
            lines.append(f"  context_shape: {self.context_shape}")
        for name in ("embedding", "dequantization"):
            if (part := getattr(self, name)) is not None:
                lines.append(f"  {name}: {indented(part)}")
        return "\n".join(["Flow(", *lines, ")"])

    def _log_mass(self, x: Tensor, context: Tensor | None) -> Tensor:
        """Log P(x) of values x (B, 1) out of few, (B,)."""
        self._check(x, self.event_shape, "`x`")
        embedded = self._context(context, x.shape[0])
        twice = None if embedded is None else torch.cat([embedded, embedded])
        steps: Any = self.dequantization
        inverse = self.bijection.inverse
        return log_mass(x, steps.cells(x), lambda edges: self._run(inverse, edges, twice)[0])

    def _noise(
        self,
        n: int | Sequence[int],
        context: Rowlike | None,
        temperature: float,
        generator: torch.Generator | None,
        length: int | None,
    ) -> tuple[Tensor, Tensor | None, Batched]:
        """Noise for the samples, and a row of context for each."""
        context = as_rows(context, self.base.like)
        contexts = () if context is None else leading(context, self.context_shape or ())
        shape = sample_shape(n, contexts)
        free = () if length is None else (length,)  # a user's own base may lack this argument
        z = self.base.sample(math.prod(shape), generator, *free) * float(temperature)
        return z, per_row(context, shape, self.context_shape), Batched(shape)

    def _bound(
        self, generator: torch.Generator | None, x: Tensor, context: Tensor | None
    ) -> torch.Generator | None:
        """The next draw for these rows, if the generator is one of rows; else the generator."""
        if isinstance(generator, RowGenerator):
            self._check(x, self.event_shape, "`x`")
            if context is not None:
                self.check_context(context)
        return bound(generator, x, context)

    def _estimating(self, generator: torch.Generator | None) -> AbstractContextManager[None]:
        """Within this context, estimates are drawn from the generator, if there are both."""
        if generator is None or not self.estimated:
            return nullcontext()
        return drawing(generator)

    def _as_data(self, x: Tensor) -> Tensor:
        """Data from the output of the bijection, in the usual memory order."""
        return (self.dequantization.lower(x) if self.dequantization else x).contiguous()

    def _run(
        self, direction: Direction, value: Tensor, context: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        # In training a BatchNorm takes its moments from the batch, which must stay whole.
        run = direction if self.training else partial(in_pieces, direction)
        output, log_det = run(value, context)
        if output.shape != value.shape or log_det.shape != value.shape[:1]:
            shapes = f"{tuple(output.shape)}, log_det {tuple(log_det.shape)}"
            raise InputError(f"the bijection turned shape {tuple(value.shape)} into {shapes}")
        return output, log_det


def _without_log_dets() -> AbstractContextManager[None]:
    """Within this context, log-dets that cost a pass are left out; not while compiling."""
    return nullcontext() if torch.compiler.is_compiling() else values_alone()
