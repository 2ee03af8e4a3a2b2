"""A bijection and a base density make a flow: densities and samples."""

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial

import torch
from torch import Tensor, nn

from caudal.base import FREE, Base
from caudal.bijection import Bijection, Direction, in_pieces
from caudal.dequantization import Dequantization
from caudal.errors import InputError
from caudal.estimates import estimated_parts, kind_of, mean_and_error
from caudal.numerics import drawing, values_alone


class Flow(nn.Module):
    """The density of x = bijection(z), z ~ base: log p(x) = log p(z) + log|det dz/dx|.

    How good a score is stands in `kind`: exact, a lower bound, or an estimate.

    Args:
        bijection: from noise z to data x.
        base: the density of the noise; its event shape is the bijection's.
        context_shape: of one row of context, for a conditional flow. It, and the event shape,
            may have a length of -1, one that differs from batch to batch.
        embedding: turns raw context into what the bijection takes.
        dequantization: for data in steps or with gaps; then log_prob is a lower bound.

    Units are nats, in the units of x. All methods take batches on dimension 0, in the dtype and
    on the device of the flow; they raise `InputError` otherwise.
    """

    def __init__(
        self,
        bijection: Bijection,
        base: Base,
        *,
        context_shape: Sequence[int] | None = None,
        embedding: nn.Module | None = None,
        dequantization: Dequantization | None = None,
    ) -> None:
        super().__init__()
        _refuse_repeats(bijection)
        self.bijection = bijection
        self.base = base
        self.embedding = embedding
        self.dequantization = dequantization
        self.event_shape = dequantization.event_shape if dequantization else base.event_shape
        self.context_shape = None if context_shape is None else tuple(context_shape)

    @property
    def kind(self) -> str:
        """What `log_prob` is in evaluation, in words.

        "exact", or a "lower bound" where dequantisation makes it one. Where a log-det costs too
        much and is drawn instead, an "unbiased estimate", whose mean over draws is right, or a
        "biased estimate", which is off by up to `bias_bound`; with dequantisation, either is one
        "of a lower bound".
        """
        return kind_of(self.bijection, self.dequantization is not None)

    @property
    def estimated(self) -> bool:
        """Whether `log_prob` is an estimate of a log-det, and so differs from draw to draw."""
        return bool(estimated_parts(self.bijection))

    def bias_bound(self) -> float:
        """How far the mean of `log_prob` over draws is off at most, in nats an event."""
        parts = estimated_parts(self.bijection)
        return math.fsum(part.bias_bound() for part in parts if part.kind == "biased")

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """The same as `log_prob`, for what calls modules (export, data parallelism)."""
        return self.log_prob(x, context)

    def log_prob(
        self, x: Tensor, context: Tensor | None = None, generator: torch.Generator | None = None
    ) -> Tensor:
        """Log-density of x (B, *event) in nats, (B,); -inf outside the support, NaN of NaN.

        `generator` draws the dequantisation noise, where there is any, and after it estimates,
        anew for each row. Without it estimates have the same random numbers each time: scores
        are equal when repeated, but their errors do not average out over rows. (In training
        estimates are drawn anew in any case.)
        """
        y, log_q = self.lift(x, generator)
        context = self._context(context, x.shape[0])
        with self._estimating(generator):
            z, log_det = self._run(self.bijection.inverse, y, context)
        infinite = x.abs().flatten(1).amax(1) == torch.inf  # nets would make them NaN
        return torch.where(infinite, -torch.inf, self.base.log_prob(z) + (log_det - log_q))

    def log_prob_with_error(
        self,
        x: Tensor,
        context: Tensor | None = None,
        draws: int = 4,
        generator: torch.Generator | None = None,
    ) -> tuple[Tensor, Tensor]:
        """`log_prob`, the mean of several estimates, and its standard error, in nats, each (B,).

        The error is what drawing the estimates again would change (std / sqrt(draws), itself
        uncertain where draws are few); it leaves out their bias, and the noise of dequantisation,
        which is drawn once. Where nothing is estimated it is 0, and there is one pass. For a flow
        in evaluation; without a generator the draws are the same each time.
        """
        if draws < 2:
            raise InputError(f"draws must be at least 2 for a standard error, got {draws}")
        if generator is None:
            generator = torch.Generator(self.base.like.device).manual_seed(0)
        if not self.estimated:
            log_prob = self.log_prob(x, context, generator)
            return log_prob, torch.zeros_like(log_prob)
        (y, log_q), flow = self.lift(x, generator), self.continuous()
        drawn = [flow.log_prob(y, context, generator) - log_q for _ in range(draws)]
        return mean_and_error(torch.stack(drawn))

    def sample(
        self,
        n: int,
        context: Tensor | None = None,
        temperature: float = 1.0,
        generator: torch.Generator | None = None,
        length: int | None = None,
    ) -> Tensor:
        """N samples (n, *event), without gradient; `length` is of events whose length is free.

        `context` is one row for all of them, or n rows. `temperature` multiplies the noise: below
        1 gives likelier, less varied samples, which are no longer samples of the density.
        """
        with torch.no_grad():
            return self.decode(*self._noise(n, context, temperature, generator, length))

    def sample_with_log_prob(
        self,
        n: int,
        context: Tensor | None = None,
        temperature: float = 1.0,
        generator: torch.Generator | None = None,
        length: int | None = None,
    ) -> tuple[Tensor, Tensor]:
        """N samples, reparameterised (gradients flow), and their log-density in nats, (n,).

        One pass gives both. With a temperature, the density is still that of temperature 1. With
        dequantisation it is that of the continuous draw, before rounding, which cuts gradients.
        `generator` draws the noise, and estimates as in `log_prob`.
        """
        z, context = self._noise(n, context, temperature, generator, length)
        context = self._context(context, n)
        with self._estimating(generator):
            x, log_det = self._run(self.bijection.forward, z, context)
        log_prob = self.base.log_prob(z) - log_det
        return self._as_data(x), log_prob

    def encode(
        self, x: Tensor, context: Tensor | None = None, generator: torch.Generator | None = None
    ) -> Tensor:
        """The noise z that x comes from."""
        y, _ = self.lift(x, generator)
        context = self._context(context, x.shape[0])
        with _without_log_dets():
            z, _ = self._run(self.bijection.inverse, y, context)
        return z.contiguous()

    def decode(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        """The data x that noise z (B, *event of the base) becomes."""
        self._check(z, self.base.event_shape, "noise")
        context = self._context(context, z.shape[0])
        with _without_log_dets():
            x, _ = self._run(self.bijection.forward, z, context)
        return self._as_data(x)

    def lift(self, x: Tensor, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """X as the bijection takes it, and what that costs the bound (see Dequantization)."""
        self._check(x, self.event_shape, "event")
        if self.dequantization is None:
            return x, x.new_zeros(x.shape[0])
        return self.dequantization.lift(x, generator)

    def continuous(self) -> "Flow":
        """The density of lifted rows (see `lift`): the same modules, no dequantization.

        Its samples are what `sample` rounds, and its log_prob has no noise, and is exact unless
        it is estimated. Flows of one table can be compared so, row by row.
        """
        if self.dequantization is None:
            return self
        shape, embedding = self.context_shape, self.embedding
        flow = Flow(self.bijection, self.base, context_shape=shape, embedding=embedding)
        flow.training = self.training  # the modules keep their own
        return flow

    def embed(self, context: Tensor | None) -> Tensor | None:
        """Context as the bijection takes it."""
        return context if context is None or self.embedding is None else self.embedding(context)

    def distribution(self, context: Tensor | None = None) -> torch.distributions.Distribution:
        """A `torch.distributions` view; `context` is one row, or B rows for batch shape (B,)."""
        from caudal.distribution import FlowDistribution

        return FlowDistribution(self, context)

    def _noise(
        self,
        n: int,
        context: Tensor | None,
        temperature: float,
        generator: torch.Generator | None,
        length: int | None,
    ) -> tuple[Tensor, Tensor | None]:
        """Noise for n samples, and a row of context for each."""
        if n < 0:
            raise InputError(f"cannot draw {n} samples")
        free = () if length is None else (length,)  # bases of a user's own may know of none
        z = self.base.sample(n, generator, *free) * temperature
        return z, per_sample(context, n, self.context_shape)

    def _estimating(self, generator: torch.Generator | None) -> AbstractContextManager[None]:
        """Within, estimates are drawn from the generator, if there are both."""
        if generator is None or not self.estimated:
            return nullcontext()
        return drawing(generator)

    def _as_data(self, x: Tensor) -> Tensor:
        """Out of the bijection, whose layers have an order in memory of their own."""
        return (self.dequantization.lower(x) if self.dequantization else x).contiguous()

    def _run(
        self, direction: Direction, value: Tensor, context: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        # In train mode a BatchNorm takes its moments from the batch, so that stays whole.
        run = direction if self.training else partial(in_pieces, direction)
        output, log_det = run(value, context)
        if output.shape != value.shape or log_det.shape != value.shape[:1]:
            shapes = f"{tuple(output.shape)}, log_det {tuple(log_det.shape)}"
            raise InputError(f"the bijection turned shape {tuple(value.shape)} into {shapes}")
        return output, log_det

    def _context(self, context: Tensor | None, rows: int) -> Tensor | None:
        if self.context_shape is None:
            if context is not None:
                raise InputError("this flow takes no context: it was built without context_shape")
            return None
        if context is None:
            raise InputError(f"this flow needs a context of shape (B, *{self.context_shape})")
        self._check(context, self.context_shape, "context")
        if context.shape[0] != rows:
            raise InputError(f"{context.shape[0]} rows of context for {rows} rows of data")
        return self.embed(context)

    def _check(self, x: Tensor, shape: tuple[int, ...], what: str) -> None:
        if not fits(x, shape):
            raise InputError(f"{what} must have shape (B, *{shape}), got {tuple(x.shape)}")
        if x.dtype != self.base.like.dtype:
            raise InputError(
                f"{what} must be {self.base.like.dtype} as the flow is, got {x.dtype}: "
                f"convert one with .to(), or the other with flow.to()"
            )


def fits(x: Tensor, shape: tuple[int, ...]) -> bool:
    """Whether x is (B, *shape), FREE in the shape standing for any length."""
    found = tuple(x.shape[1:])
    free = (size in (FREE, n) for size, n in zip(shape, found, strict=False))
    return x.ndim == 1 + len(shape) and all(free)


def per_sample(context: Tensor | None, n: int, shape: tuple[int, ...] | None) -> Tensor | None:
    """One row of context repeated for n samples; n rows as they are."""
    if context is None or shape is None or context.ndim > len(shape):
        return context
    return context.expand(n, *context.shape)


def _refuse_repeats(bijection: Bijection) -> None:
    seen: dict[int, str] = {}
    for name, module in bijection.named_modules(remove_duplicate=False):
        if isinstance(module, Bijection) and seen.setdefault(id(module), name) != name:
            raise InputError(
                f"one {type(module).__name__} sits at both {seen[id(module)]!r} and {name!r} of "
                f"the bijection: build a new one for each place ([layer] * n repeats the same one)"
            )


def _without_log_dets() -> AbstractContextManager[None]:
    """Within, log-dets that cost a pass are left out; the compiler does not know how to."""
    return nullcontext() if torch.compiler.is_compiling() else values_alone()
