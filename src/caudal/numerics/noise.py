"""Random numbers that belong to the values of a row, whatever its place in a batch or a file."""

import math
from collections.abc import Callable
from typing import Any, Self

import torch
from torch import Tensor

from caudal.numerics.randomness import own_generator
from caudal.numerics.sharing import drawn

_DIGITS = 24  # bits of a uniform number: as many as float32 holds, so that no precision rounds it
_GOLDEN = -7046029254386353131  # the step of splitmix64, as a signed number
_NAN = 0x7FC00000  # one pattern for a missing value, which may have any of many


class RowGenerator(torch.Generator):
    """A generator whose numbers for a row are a function of its values, a seed and the draw.

    A `Flow` given it as `generator` fills steps and gaps, and draws estimates, by a hash of each
    row and its context. So a row scores the same alone, in any batch and in any order; equal rows
    have equal noise. Each call of the flow is one more draw. What knows nothing of rows takes the
    numbers of a plain generator with the same seed.

    With `strata`, that many draws one after the other are a Latin hypercube: each element's
    uniform numbers lie in different ones of as many equal parts of [0, 1), in an order of its own.
    Every draw by itself is uniform as before, and the mean over them errs less.
    References: Fast splittable pseudorandom number generators (Steele, Lea, Flood, 2014), whose
    splitmix64 is the hash; McKay, Beckman, Conover (1979) for the Latin hypercube.

    Args:
        device: of the flow.
        seed: any whole number of 64 bits.
        strata: how many draws belong together.
        repeat: (B,), for one batch alone: which of several equal rows each one is (see `Repeats`),
            so that they differ in their noise.
    """

    def __new__(cls, device: torch.device | str = "cpu", *_: object, **__: object) -> Self:
        return super().__new__(cls, device)  # type: ignore[call-arg]

    def __init__(
        self,
        device: torch.device | str = "cpu",
        seed: int = 0,
        strata: int = 1,
        repeat: Tensor | None = None,
    ) -> None:
        self.key, self.strata, self.repeat, self.drawn = seed, strata, repeat, 0
        self.manual_seed(seed)

    def bind(self, *values: Tensor | None) -> "RowNoise":
        """The next draw for the rows whose values (B, ...) these are."""
        rows = hash_rows(*values)
        if self.repeat is not None:
            rows = rows + self.repeat.to(rows) * _GOLDEN
        draw, self.drawn = self.drawn, self.drawn + 1
        return RowNoise(self.device, _mix(rows ^ self.key), draw, self.strata, self.key ^ draw)


class RowNoise(torch.Generator):
    """One draw of a `RowGenerator` for the rows of one batch."""

    def __new__(cls, device: torch.device, *_: object) -> Self:
        return super().__new__(cls, device)  # type: ignore[call-arg]

    def __init__(
        self, device: torch.device, rows: Tensor, draw: int, strata: int, seed: int
    ) -> None:
        self.rows, self.draw, self.strata, self.asked = rows, draw, strata, 0
        self.manual_seed(seed)

    def part(self, rows: slice) -> "RowNoise":
        """The same draw for some of the rows."""
        seed = self.initial_seed()
        part = RowNoise(self.device, self.rows[rows], self.draw, self.strata, seed)
        part.asked = self.asked
        return part

    def repeated(self, times: int) -> "RowNoise":
        """The same draw for that many copies of each row, one after the other."""
        rows = self.rows.repeat_interleave(times)
        return RowNoise(self.device, rows, self.draw, self.strata, self.initial_seed())

    def bits(self, like: Tensor) -> Tensor:
        """Random whole numbers in [0, 2^24) for rows (B, ...), other ones at each call."""
        self.asked += 1
        return self._numbers(self.draw, like)

    def stratified(self, like: Tensor) -> Tensor:
        """Like `bits`, but the draws of a group take numbers from different parts of the range."""
        numbers = self.bits(like)
        if self.strata == 1:
            return numbers
        group, place = divmod(self.draw, self.strata)
        chosen = self._numbers(~group, like)  # the same for all draws of the group
        factors = [n for n in range(1, self.strata + 1) if math.gcd(n, self.strata) == 1]
        factor = torch.tensor(factors, device=like.device)[chosen % len(factors)]
        stratum = (factor * place + (chosen >> _DIGITS // 2)) % self.strata
        return ((stratum << _DIGITS) + numbers) // self.strata

    def _numbers(self, stream: int, like: Tensor) -> Tensor:
        state = _mix(_mix(self.rows + _stride(stream)) + _stride(self.asked)).to(like.device)
        places = torch.arange(1, 1 + math.prod(like.shape[1:]), device=like.device) * _GOLDEN
        return _shifted(_mix(state[:, None] + places), 64 - _DIGITS).view(like.shape)


class Repeats:
    """Counts equal rows, batch after batch: the first of them is 0, the next 1, and so on.

    A mean over rows needs this, where equal noise in equal rows would not average out. Beyond a
    million different rows, new ones are no longer counted, so that memory stays bounded.
    """

    def __init__(self, most: int = 1 << 20) -> None:
        self.seen: dict[int, int] = {}
        self.most = most

    def of(self, *values: Tensor | None) -> Tensor:
        """Which of several equal rows each one of values (B, ...) is, (B,)."""
        return torch.tensor([self._count(row) for row in hash_rows(*values).tolist()])

    def _count(self, row: int) -> int:
        count = self.seen.get(row, 0)
        if count or len(self.seen) < self.most:
            self.seen[row] = count + 1
        return count


def bound(generator: torch.Generator | None, *values: Tensor | None) -> torch.Generator | None:
    """The next draw for these rows, if the generator is one of rows; else the generator."""
    return generator.bind(*values) if isinstance(generator, RowGenerator) else generator


def uniform(like: Tensor, generator: torch.Generator | None) -> Tensor:
    """Uniform draws from [0, 1), with the shape, dtype and device of `like` (B, ...)."""
    if isinstance(generator, RowNoise):
        return generator.stratified(like).to(like.dtype) * 2.0**-_DIGITS
    return _drawn(torch.rand, like, generator)


def normal(like: Tensor, generator: torch.Generator | None) -> Tensor:
    """Standard normal draws, with the shape, dtype and device of `like` (B, ...)."""
    if isinstance(generator, RowNoise):
        # Odd multiples of 2^-24 in (-1, 1): exact in float32, and never at an end.
        odd = 2 * generator.stratified(like) + 1 - (1 << _DIGITS)
        return math.sqrt(2) * torch.erfinv(odd.to(like.dtype) * 2.0**-_DIGITS)
    return _drawn(torch.randn, like, generator)


def signs(like: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Random signs, +1 or -1, with the shape, dtype and device of `like` (B, ...)."""
    if isinstance(generator, RowNoise):
        return (2 * (generator.bits(like) & 1) - 1).to(like)
    generator = generator or own_generator(like.device)
    device = like.device if generator is None else generator.device
    options: Any = {"generator": generator, "device": device, "dtype": torch.int8}
    bits = drawn(lambda shape: torch.randint(0, 2, shape, **options), like.shape)
    return (2 * bits - 1).to(like)


def _drawn(draw: Callable[..., Tensor], like: Tensor, generator: torch.Generator | None) -> Tensor:
    options = {"dtype": like.dtype, "device": like.device}
    generator = generator or own_generator(like.device)
    return drawn(lambda shape: draw(shape, generator=generator, **options), like.shape)


def hash_rows(*values: Tensor | None) -> Tensor:
    """64 bits for each row of values (B, ...), the same in every precision that holds them."""
    first, *others = (_hash(value) for value in values if value is not None)
    for other in others:
        first = _mix(first) + other
    return first


def _hash(value: Tensor) -> Tensor:
    """A hash (B,) of rows (B, ...): the sum, in any order, of one of each value at its place."""
    bits = _bits(value.detach().flatten(1))
    places = torch.arange(1, 1 + bits.shape[1], device=bits.device) * _GOLDEN
    return _mix(bits + places).sum(1)


def _bits(x: Tensor) -> Tensor:
    """Each number as a whole one, the same for equal numbers of any precision."""
    high = x.float() + 0.0  # no negative zero
    bits = high.view(torch.int32).long()
    if x.dtype == torch.float64:
        low = (x - high).float().nan_to_num(0.0)
        bits = bits + (low.view(torch.int32).long() << 32)
    return torch.where(x.isnan(), _NAN, bits)


def _mix(x: Tensor) -> Tensor:
    """The finaliser of splitmix64, in whole numbers of 64 bits that wrap around."""
    # In place: for a batch of images, memory takes longer than the arithmetic.
    x = x ^ _shifted(x, 30)
    x.mul_(-4658895280553007687)
    x.bitwise_xor_(_shifted(x, 27)).mul_(-7723592293110705685)
    return x.bitwise_xor_(_shifted(x, 31))


def _stride(n: int) -> int:
    """N steps of splitmix64, as a signed number of 64 bits."""
    return (n * _GOLDEN + (1 << 63)) % (1 << 64) - (1 << 63)


def _shifted(x: Tensor, by: int) -> Tensor:
    """X shifted to the right, zeros coming in: torch would copy the sign."""
    return (x >> by).bitwise_and_((1 << (64 - by)) - 1)


def mean_and_error(estimates: Tensor) -> tuple[Tensor, Tensor]:
    """The mean of estimates (draws, B), and its standard error, each (B,).

    The error is from the means of every n-th draw, n >= 4: each such part of a Latin hypercube is
    nearly one itself, so that the parts have most of its gain. A row of -inf has error 0.
    """
    mean = estimates.mean(0)
    if not len(mean):  # std would warn
        return mean, torch.zeros_like(mean)
    draws = len(estimates)
    n = next((n for n in range(4, draws) if draws % n == 0), draws)
    parts = estimates.unflatten(0, (draws // n, n)).mean(0)
    spread = torch.where(mean == -torch.inf, 0.0, parts).std(0)
    return mean, spread / math.sqrt(n)
