"""The protocol of invertible maps, and the ways to combine them: in a chain, backwards, within."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterable
from typing import cast

import torch
from torch import Tensor, nn


class Bijection(nn.Module, ABC):
    """An invertible map between noise z and data x.

    Both directions take a batch (B, *event), return a tensor of the same shape, and with it the
    log abs det of the Jacobian of the direction taken, in nats, shape (B,). A pass changes no
    state; data-dependent initialisation is explicit (`caudal.initialize`).
    """

    @abstractmethod
    def forward(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """From noise to data: x and log|det dx/dz|."""

    @abstractmethod
    def inverse(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """From data to noise: z and log|det dz/dx|."""


class Chain(Bijection):
    """The composition of bijections, listed from the noise to the data.

    x = f_K(... f_2(f_1(z))); the log-dets add up.
    """

    def __init__(self, parts: Iterable[Bijection]) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)

    def forward(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        log_det = z.new_zeros(z.shape[0])
        for part in self.parts:
            z, part_log_det = part.forward(z, context)
            log_det = log_det + part_log_det
        return z, log_det

    def inverse(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        log_det = x.new_zeros(x.shape[0])
        for part in reversed(self.parts):
            x, part_log_det = cast(Bijection, part).inverse(x, context)
            log_det = log_det + part_log_det
        return x, log_det


def parts_of(bijection: Bijection) -> list[Bijection]:
    """The parts of a chain, from the noise to the data; of any other bijection itself."""
    parts = list(bijection.parts) if isinstance(bijection, Chain) else [bijection]
    return cast(list[Bijection], parts)


class Inverse(Bijection):
    """A bijection with its directions swapped: MAF becomes IAF, and the reverse."""

    def __init__(self, bijection: Bijection) -> None:
        super().__init__()
        self.bijection = bijection

    def forward(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self.bijection.inverse(z, context)

    def inverse(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self.bijection.forward(x, context)


class Within(Bijection):
    """A bijection of a view of the event: a part of it, or all of it in another shape.

    A view takes elements and puts them back, so the log-det is that of the bijection within.
    Multi-scale flows are made of these: whatever happens within, the event keeps its shape.
    """

    def __init__(self, bijection: Bijection) -> None:
        super().__init__()
        self.bijection = bijection

    @abstractmethod
    def take(self, event: Tensor) -> Tensor:
        """What the bijection within works on, out of the event (B, *event)."""

    @abstractmethod
    def put(self, taken: Tensor, into: Tensor) -> Tensor:
        """The event with `taken` in the place of what `take` took of it."""

    def forward(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        taken, log_det = self.bijection.forward(self.take(z), context)
        return self.put(taken, z), log_det

    def inverse(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        taken, log_det = self.bijection.inverse(self.take(x), context)
        return self.put(taken, x), log_det


class Estimated(Bijection):
    """A bijection whose log-det may be an estimate, where the exact one costs too much."""

    @property
    @abstractmethod
    def kind(self) -> str:
        """What the log-det is in evaluation: "exact", "unbiased" or "biased"."""

    @abstractmethod
    def bias_bound(self) -> float:
        """How far a biased log-det is off at most, in nats an event; 0 if it is not biased."""


def sum_event(values: Tensor) -> Tensor:
    """Sums (B, *event) over the event: (B,)."""
    return values.flatten(1).sum(1)


Direction = Callable[[Tensor, Tensor | None], tuple[Tensor, Tensor]]

# Rows at least, and numbers about, in a piece: measured. Nets of images hold hundreds of numbers
# for each that goes through them, so their pieces are smaller in rows; accelerators want more.
_VECTORS, _IMAGES = (2048, 1 << 17), (64, 1 << 19)
_VECTORS_ELSEWHERE, _IMAGES_ELSEWHERE = (1 << 16, 0), (256, 1 << 24)


def in_pieces(
    direction: Direction, value: Tensor, context: Tensor | None
) -> tuple[Tensor, Tensor]:
    """One direction of a bijection, piece by piece where the batch is long and takes no gradient.

    Rows do not depend on each other, and a net holds many numbers for each one that goes through
    it: pieces keep to a small memory, and to the caches (up to 1.7 times the speed of the whole).
    """
    if torch.is_grad_enabled() or torch.compiler.is_compiling():
        return direction(value, context)
    rows = _rows_in_piece(value)
    if len(value) <= rows:
        return direction(value, context)
    pieces = value.split(rows)
    contexts = [None] * len(pieces) if context is None else context.split(rows)
    # Of a view into all rows, slice_scatter would copy all that lies before it, and keep that.
    runs = (direction(piece.clone(), given) for piece, given in zip(pieces, contexts, strict=True))
    outputs, log_dets = zip(*runs, strict=True)
    return torch.cat(outputs), torch.cat(log_dets)


def _rows_in_piece(value: Tensor) -> int:
    vectors = value.ndim == 2
    if value.device.type == "cpu":
        least, numbers = _VECTORS if vectors else _IMAGES
    else:
        least, numbers = _VECTORS_ELSEWHERE if vectors else _IMAGES_ELSEWHERE
    return max(least, numbers // math.prod(value.shape[1:]))


Walk = Generator[tuple[str, Bijection, Tensor], None, Tensor]


def walk(
    bijection: Bijection, x: Tensor, context: Tensor | None = None, name: str = "bijection"
) -> Walk:
    """Goes from data to noise, and stops at each elementary bijection *before* applying it.

    Yields (name, bijection, its input). Whoever walks may set the bijection's statistics from
    that input, measure it, or look for the first one that breaks. The value of the generator
    (`yield from`) is z.
    """
    if isinstance(bijection, Within):
        taken = bijection.take(x)
        taken = yield from walk(bijection.bijection, taken, context, f"{name}.bijection")
        return bijection.put(taken, x)
    if not isinstance(bijection, Chain):
        yield name, bijection, x
        return in_pieces(bijection.inverse, x, context)[0]
    for index in reversed(range(len(bijection.parts))):
        part = cast(Bijection, bijection.parts[index])
        x = yield from walk(part, x, context, f"{name}.parts.{index}")
    return x
