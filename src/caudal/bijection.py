"""The protocol of invertible maps, and ways to combine them: in a chain, inverted, on a view."""

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import AbstractContextManager
from contextvars import ContextVar
from typing import TypeVar, cast

import torch
from torch import Tensor, nn

from caudal.errors import InputError
from caudal.numerics import drawing_part, is_recomputing, recomputed
from caudal.scope import scoped


class Bijection(nn.Module, ABC):
    """An invertible map between noise z and data x.

    Both directions take a batch (B, *event) and return a tensor of the same shape with the
    log abs det of the Jacobian of that direction, in nats, (B,). A pass changes no state;
    data-dependent initialisation is explicit (`caudal.initialize`).

    Calling a bijection is its forward direction, so forward hooks of all parts fire when a flow
    samples. The inverse direction is a plain method, for which PyTorch has no hooks.
    """

    @abstractmethod
    def forward(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """From noise to data: x and log|det dx/dz|."""

    @abstractmethod
    def inverse(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """From data to noise: z and log|det dz/dx|."""

    def __repr__(self) -> str:
        """One line with the settings (`extra_repr`); the nets inside are not shown."""
        return f"{type(self).__name__}({self.extra_repr()})"


class Chain(Bijection):
    """The composition of bijections, listed from the noise to the data.

    x = f_K(... f_2(f_1(z))); the log-dets add up. Parts are called, not only run forward, for the
    sake of hooks: this costs about 2 microseconds a part, too little to measure in a flow.
    """

    def __init__(self, parts: Iterable[Bijection]) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)

    def forward(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        log_det = z.new_zeros(z.shape[0])
        for part in self.parts:
            z, part_log_det = _passed(part, part, z, context)
            log_det = log_det + part_log_det
        return z, log_det

    def inverse(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        log_det = x.new_zeros(x.shape[0])
        for part in reversed(self.parts):
            x, part_log_det = _passed(part, cast(Bijection, part).inverse, x, context)
            log_det = log_det + part_log_det
        return x, log_det

    def __repr__(self) -> str:
        lines = [f"  {i}: {indented(part)}" for i, part in enumerate(self.parts)]
        return "\n".join(["Chain(", *lines, ")"]) if lines else "Chain()"


def _passed(
    part: nn.Module, call: Callable[..., tuple[Tensor, Tensor]], *inputs: Tensor | None
) -> tuple[Tensor, Tensor]:
    """`call(*inputs)`, a direction of a part; of parts with chains within, these do the same."""
    if not is_recomputing() or any(isinstance(within, Chain) for within in part.modules()):
        return call(*inputs)
    result: tuple[Tensor, Tensor] = recomputed(part, call, *inputs)
    return result


def indented(part: object) -> str:
    """The repr of a part, to stand inside that of the whole."""
    return repr(part).replace("\n", "\n  ")


def parts_of(bijection: Bijection) -> list[Bijection]:
    """The parts of a chain, from the noise to the data; any other bijection is its only part."""
    parts = list(bijection.parts) if isinstance(bijection, Chain) else [bijection]
    return cast(list[Bijection], parts)


class Inverse(Bijection):
    """A bijection with its directions swapped: MAF becomes IAF, and IAF becomes MAF."""

    def __init__(self, bijection: Bijection) -> None:
        super().__init__()
        self.bijection = bijection

    def extra_repr(self) -> str:
        return repr(self.bijection)

    def forward(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self.bijection.inverse(z, context)

    def inverse(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        result: tuple[Tensor, Tensor] = self.bijection(x, context)
        return result


class Within(Bijection):
    """A bijection of a view of the event: a part of it, or all of it in another shape.

    A view takes elements and puts them back, so that the log-det is that of the bijection within.
    Multi-scale flows consist of views: the event as a whole keeps its shape.
    """

    def __init__(self, bijection: Bijection) -> None:
        super().__init__()
        self.bijection = bijection

    def extra_repr(self) -> str:
        return repr(self.bijection)

    @abstractmethod
    def take(self, event: Tensor) -> Tensor:
        """The view of the event (B, *event) on which the bijection within works."""

    @abstractmethod
    def put(self, taken: Tensor, into: Tensor) -> Tensor:
        """The event `into` with its view replaced by `taken`."""

    def given(self, event: Tensor, context: Tensor | None) -> Tensor | None:
        """The context of the bijection within; elements that are not in the view may add to it."""
        return context

    def forward(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        taken, log_det = self.bijection(self.take(z), self.given(z, context))
        return self.put(taken, z), log_det

    def inverse(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        taken, log_det = self.bijection.inverse(self.take(x), self.given(x, context))
        return self.put(taken, x), log_det


class Estimated(Bijection):
    """A bijection whose log-det may be an estimate, because the exact one is too expensive."""

    @property
    @abstractmethod
    def kind(self) -> str:
        """The kind of log-det in evaluation: "exact", "unbiased" or "biased"."""

    @abstractmethod
    def bias_bound(self) -> float:
        """The largest possible bias of the log-det, in nats an event; 0 if it is not biased."""


def estimated_parts(bijection: Bijection) -> list[Estimated]:
    """The parts whose log-dets are estimates in evaluation, empty if all are exact."""
    parts = (part for part in bijection.modules() if isinstance(part, Estimated))
    return [part for part in parts if part.kind != "exact"]


def kind_of(bijection: Bijection, bound: bool) -> str:
    """The kind of log-densities through the bijection, in words; `bound` if they are bounds."""
    kinds = {part.kind for part in estimated_parts(bijection)}
    if not kinds:
        return "lower bound" if bound else "exact"
    estimate = "biased estimate" if "biased" in kinds else "unbiased estimate"
    return f"{estimate} of a lower bound" if bound else estimate


def refuse_repeats(bijection: Bijection) -> None:
    """Refuses a bijection that contains the same part twice, whose weights would be shared."""
    seen: dict[int, str] = {}
    for name, module in bijection.named_modules(remove_duplicate=False):
        if isinstance(module, Bijection) and seen.setdefault(id(module), name) != name:
            raise InputError(
                f"one {type(module).__name__} sits at both {seen[id(module)]!r} and {name!r} of "
                f"the bijection: build a new one for each place ([layer] * n repeats the same one)"
            )


_Part = TypeVar("_Part", bound=Bijection)


def exchanged(
    bijection: Bijection, new: Callable[[Bijection], Bijection | None]
) -> Bijection | None:
    """The same bijection, of the same modules, with new parts in the places of some.

    Args:
        bijection: whose parts in chains and in views are exchanged.
        new: gives the part that takes the place of another one; None for one that stays.

    Returns:
        None where nothing is exchanged.
    """
    if (other := new(bijection)) is not None:
        return other
    if isinstance(bijection, Chain):
        parts = parts_of(bijection)
        others = [exchanged(part, new) for part in parts]
        if not any(others):
            return None
        chain = Chain(other or part for other, part in zip(others, parts, strict=True))
        chain.training = bijection.training  # the parts keep their own
        return chain
    if isinstance(bijection, Within) and (inner := exchanged(bijection.bijection, new)):
        view = alike(bijection)
        view._modules["bijection"] = inner
        return view
    return None


def alike(part: _Part) -> _Part:
    """A copy of a part with the same modules and tensors, which can be exchanged in it alone."""
    other = copy.copy(part)
    for name in ("_modules", "_buffers", "_parameters"):
        other.__dict__[name] = dict(other.__dict__[name])
    return other


def sum_event(values: Tensor) -> Tensor:
    """Sums (B, *event) over the event: (B,)."""
    return values.flatten(1).sum(1)


Direction = Callable[[Tensor, Tensor | None], tuple[Tensor, Tensor]]

# The least rows and the approximate elements of a piece, as measured. Nets of images hold hundreds
# of activations for each element, so their pieces have fewer rows; accelerators want larger ones.
_VECTORS, _IMAGES = (2048, 1 << 17), (64, 1 << 19)
_VECTORS_ELSEWHERE, _IMAGES_ELSEWHERE = (1 << 16, 0), (256, 1 << 24)
_WIDE = 1 << 20  # elements of the least rows: splines hold some hundred bytes for each
_CUTS = ContextVar("_CUTS", default=True)


def uncut() -> AbstractContextManager[None]:
    """Within, no batch goes in pieces: each of them would gather weights that are shared out."""
    return scoped(_CUTS, False)


def in_pieces(
    direction: Direction, value: Tensor, context: Tensor | None
) -> tuple[Tensor, Tensor]:
    """One direction of a bijection, in pieces if the batch is long and needs no gradient.

    Rows do not depend on each other, and a net holds many activations for each element. Pieces
    need little memory and stay in the caches, at up to 1.7 times the speed of the whole batch.
    """
    if torch.is_grad_enabled() or torch.compiler.is_compiling() or not _CUTS.get():
        return direction(value, context)
    rows = _rows_in_piece(value)
    if len(value) <= rows:
        return direction(value, context)
    outputs, log_dets = [], []
    for start in range(0, len(value), rows):
        piece = slice(start, start + rows)
        with drawing_part(piece):
            # Cloned: of a view, slice_scatter would copy, and keep, all the rows before it too.
            output, log_det = direction(
                value[piece].clone(), None if context is None else context[piece]
            )
        outputs.append(output)
        log_dets.append(log_det)
    return torch.cat(outputs), torch.cat(log_dets)


def recut(pieces: Iterable[Tensor], size: int) -> Iterator[Tensor]:
    """The same values (..., T), cut along the last dimension into pieces of `size`, and a rest."""
    held: Tensor | None = None
    for piece in pieces:
        held = piece if held is None else torch.cat([held, piece], -1)
        whole = held.shape[-1] // size * size
        if whole:
            yield from held[..., :whole].split(size, -1)
            held = held[..., whole:]
    if held is not None and held.shape[-1]:
        yield held


def _rows_in_piece(value: Tensor) -> int:
    vectors, elements = value.ndim == 2, math.prod(value.shape[1:])
    if value.device.type != "cpu":
        least, numbers = _VECTORS_ELSEWHERE if vectors else _IMAGES_ELSEWHERE
        return max(least, numbers // elements)
    if vectors:
        least, numbers = _VECTORS
        least = min(least, max(1, _WIDE // elements))
    else:
        least, numbers = _IMAGES
    return max(least, numbers // elements)


Walk = Generator[tuple[str, Bijection, Tensor, Tensor | None], None, Tensor]


def walk(
    bijection: Bijection, x: Tensor, context: Tensor | None = None, name: str = "bijection"
) -> Walk:
    """Goes from data to noise, and stops at each elementary bijection *before* applying it.

    Yields (name, bijection, its input, its context). The caller can set the bijection's statistics
    from that input, measure it, or search for the first part that fails. The value of the
    generator (`yield from`) is z.
    """
    if isinstance(bijection, Within):
        taken, inner = bijection.take(x), bijection.given(x, context)
        taken = yield from walk(bijection.bijection, taken, inner, f"{name}.bijection")
        return bijection.put(taken, x)
    if not isinstance(bijection, Chain):
        yield name, bijection, x, context
        return in_pieces(bijection.inverse, x, context)[0]
    for index in reversed(range(len(bijection.parts))):
        part = cast(Bijection, bijection.parts[index])
        x = yield from walk(part, x, context, f"{name}.parts.{index}")
    return x


def stages(
    bijection: Bijection, z: Tensor, context: Tensor | None = None
) -> Iterator[tuple[Bijection, Tensor]]:
    """Goes from noise to data, and stops *after* each elementary bijection.

    Yields the bijection and the whole event (B, *event) as it is by then, also where the bijection
    works on a view of it, so that each can be looked at beside the data. The last one is x.
    """
    if isinstance(bijection, Within):
        inner = bijection.given(z, context)
        for part, taken in stages(bijection.bijection, bijection.take(z), inner):
            yield part, bijection.put(taken, z)
    elif isinstance(bijection, Chain):
        for part in parts_of(bijection):
            for elementary, after in stages(part, z, context):
                yield elementary, after
                z = after
    else:
        yield bijection, in_pieces(bijection, z, context)[0]
