"""Drawing images from a flow, and taking them from the data, for pictures."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from caudal.data import ImageSchema, Rows
from caudal.flow import Flow
from caudal.report.items import NUMBERS, noise, some_rows


@torch.no_grad()
def sample_images(
    flow: Flow,
    schema: ImageSchema,
    n: int,
    context: Tensor | None = None,
    temperature: float = 1.0,
    seed: int = 0,
) -> Tensor:
    """N samples (n, C, H, W) on the CPU, of a flow that is put into eval mode.

    `context` has n rows, or is None.
    """
    flow.eval()
    generator, size = noise(flow, seed), max(1, NUMBERS // schema.countable)
    like = flow.base.like
    drawn = []
    for start in range(0, n, size):
        part = None if context is None else context[start : start + size].to(like)
        count = min(size, n - start)
        drawn.append(flow.sample(count, part, temperature, generator).cpu())
    return torch.cat(drawn)


def view(schema: ImageSchema, x: Tensor) -> np.ndarray:
    """Images to look at (N, H, W, C); values that are not finite are black."""
    return schema.decode(x.float().nan_to_num(0.0, schema.levels - 1, 0.0))


def broken(x: Tensor) -> int:
    """How many images have values that are not finite."""
    return int((~x.isfinite()).flatten(1).any(1).sum())


def some_images(rows: Rows, n: int, seed: int = 0) -> Rows:
    """At most n images, drawn at random, with their context."""
    some = some_rows(rows, n, seed)
    assert isinstance(some, Rows)
    return some


@dataclass(frozen=True)
class Classes:
    """The classes of images that are shown: their names, and their codes (K,)."""

    names: Sequence[str]
    codes: Tensor

    def context(self, each: int) -> Tensor:
        """Context (K each, 1) of `each` images of every class, class by class."""
        return self.codes.repeat_interleave(each).unsqueeze(1)

    def cycled(self, n: int) -> Tensor:
        """Context (n, 1) of n images, with the classes in turn."""
        return self.codes[torch.arange(n) % len(self.codes)].unsqueeze(1)


def classes_of(schema: ImageSchema, most: int = 10) -> Classes | None:
    """The classes that the flow is conditioned on; of many, `most` that are evenly chosen."""
    if len(schema.context) != 1 or not schema.context[0].categories:
        return None
    names = [str(name) for name in schema.context[0].categories]
    chosen = np.linspace(0, len(names) - 1, min(most, len(names))).round().astype(int)
    return Classes([names[i] for i in chosen], torch.from_numpy(chosen).float())


def members(rows: Rows, contexts: Tensor, classes: Classes, each: int) -> tuple[Tensor, Tensor]:
    """The first images of each class (K, each, C, H, W), and which there are (K, each)."""
    images = rows.x.new_zeros(len(classes.codes), each, *rows.x.shape[1:])
    there = torch.zeros(len(classes.codes), each, dtype=torch.bool)
    for i, code in enumerate(classes.codes):
        first = (contexts[:, 0].cpu() == code).nonzero()[:each, 0]
        images[i, : len(first)] = rows.x[first.to(rows.x.device)]
        there[i, : len(first)] = True
    return images, there
