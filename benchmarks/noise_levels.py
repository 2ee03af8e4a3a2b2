"""A flow of noisy images that is given the level of the noise, and the walk down the levels."""

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

import caudal
from caudal.bijection import Bijection, Chain, sum_event
from caudal.data.source import Batch, Rows, Source
from caudal.denoising import denoised

LOWEST, HIGHEST = 2.0, 60.0
"""The levels that training draws from: deviations, in steps of 256 values of a pixel."""
WAVES, MEASURED = 8, 10_000
"""Waves of the level that nets see, and images of which moments are taken."""


class Levels(nn.Module):
    """log sigma (B, 1) becomes l, which is 0 at the lowest and 1 at the highest level, and waves.

    The waves are cos(pi k l), k = 1, ..., 8: maps that are linear in them bend with the level.
    """

    def forward(self, context: Tensor) -> Tensor:
        place = (context - math.log(LOWEST)) / math.log(HIGHEST / LOWEST)
        k = torch.arange(1, WAVES + 1, dtype=place.dtype)
        return torch.cat([place, torch.cos(math.pi * k * place)], 1)  # (B, 1 + WAVES)


class Levelled(Bijection):
    """z = (y - m) / sqrt(v + sigma^2): pixels of unit deviation whatever the level.

    Here m and v (C, H, W) are the mean and variance of each pixel without noise; sigma is known
    from the first number of the context, which is l.
    """

    mean: Tensor
    variance: Tensor

    def __init__(self, mean: Tensor, variance: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("variance", variance)

    def forward(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        scale = self._scale(context)
        return self.mean + scale * z, sum_event(scale.log())

    def inverse(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        scale = self._scale(context)
        return (x - self.mean) / scale, -sum_event(scale.log())

    def _scale(self, context: Tensor | None) -> Tensor:
        assert context is not None
        std = LOWEST * (HIGHEST / LOWEST) ** context[:, 0]
        return (self.variance + std.square().view(-1, *[1] * self.mean.ndim)).sqrt()


class Noisy(Source):
    """Images with noise, and log sigma as their context: both are drawn anew in each pass.

    y = x + u + sigma e with u uniform in [0, 1) and e normal; log sigma is uniform between the
    lowest and the highest level.
    """

    def __init__(self, images: Tensor) -> None:
        self.rows = Rows(images)

    @property
    def n_rows(self) -> int:
        return self.rows.n_rows

    @property
    def row_numbers(self) -> int | None:
        return self.rows.row_numbers

    def shuffled(self, batch_size: int, seed: int, skip: int = 0) -> Iterator[Batch]:
        for i, batch in enumerate(self.rows.shuffled(batch_size, seed, skip), skip):
            yield self._noisy(batch.x, (seed << 20) + i)

    def ordered(self, batch_size: int) -> Iterator[Batch]:
        for i, batch in enumerate(self.rows.ordered(batch_size)):
            yield self._noisy(batch.x, i)

    def _noisy(self, x: Tensor, seed: int) -> Batch:
        generator = torch.Generator().manual_seed(seed % (1 << 63))
        share = torch.rand(len(x), 1, generator=generator)
        level = math.log(LOWEST) + share * math.log(HIGHEST / LOWEST)
        return Batch(noisy(x, level.exp(), generator), level)


def noisy(x: Tensor, std: Tensor | float, generator: torch.Generator) -> Tensor:
    """Whole numbers (B, *event), filled up and with Gaussian noise of deviations std (B, 1)."""
    std = torch.as_tensor(std).view(-1, *[1] * (x.ndim - 1))
    u, e = torch.rand(x.shape, generator=generator), torch.randn(x.shape, generator=generator)
    return x + u + std * e


def levelled(images: Tensor, recipe: caudal.recipes.Recipe) -> caudal.Flow:
    """The recipe's flow of noisy images, given log sigma."""
    some = images[:MEASURED].double()
    mean, variance = some.mean(0) + 0.5, some.var(0) + 1 / 12
    core = recipe.build(images.shape[1:], (1 + WAVES,), standardise=False)
    known = Levelled(mean.float(), variance.float())
    whole = Chain([core.bijection, known])
    return caudal.Flow(whole, core.base, context_shape=(1,), embedding=Levels())


def stairs(start: float, steps: int) -> list[float]:
    """So many levels from `start` to the lowest, each the same share of the one before."""
    share = [i / max(1, steps - 1) for i in range(steps)]
    return [start * (LOWEST / start) ** s for s in share] if steps > 1 else [start]


def walk(
    flow: caudal.Flow, y: Tensor, levels: Sequence[float], generator: torch.Generator | None = None
) -> Iterator[Tensor]:
    """Images y at the first level (B, *event), at each level below, and at last without noise.

    At each level sigma, x0 = E[x | y] by the slope of the log-density that is given it, and

        y' = x0 + (sigma' / sigma) (y - x0),

    Euler's step of the flow of probability. With a generator the step is drawn from the Gaussian
    of y' given y and x0 instead, as a diffusion model does: of y - x0 (sigma' / sigma)^2 remains.
    """
    yield y
    for std, lower in zip(levels, [*levels[1:], 0.0], strict=True):
        clean = denoised(flow, y, std, torch.tensor([math.log(std)]))
        kept, new = lower / std, 0.0 * y
        if generator is not None:
            new = lower * math.sqrt(1 - kept**2) * torch.randn(y.shape, generator=generator)
            kept = kept**2
        y = clean + kept * (y - clean) + new
        yield y
