"""What a flow draws as its training goes on: a picture, or a sound, for some of the steps."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

import numpy as np

from caudal.flow import Flow
from caudal.numerics import own_randomness


class Film(ABC):
    """Called with a step, leaves a file in `folder` that shows what the flow has learned by then.

    The noise is the same each time. The flow's mode and the global random numbers are left as
    they were, so that training continues as it would have.

    Args:
        folder: for the files; the report looks for them in `folder_of` the run folder.
        flow: the one that is trained.
        seed: of the noise.
    """

    always: ClassVar[bool] = False
    """Whether it is called at each validation, while that takes little of the time; else at the
    1st, 2nd, 4th, 8th, ... and the last."""

    def __init__(self, folder: str | Path, flow: Flow, seed: int) -> None:
        self.folder, self.flow, self.seed = Path(folder), flow, seed

    def __call__(self, step: int) -> Path:
        """Draws and writes the file; returns its path."""
        with evaluating(self.flow):
            return self.write(self.folder / f"step-{step:06d}")

    @property
    def words(self) -> str:
        """What is in the folder."""
        return "samples while it trains"

    @abstractmethod
    def write(self, path: Path) -> Path:
        """Draws samples in evaluation mode, and writes them; `path` has no suffix yet."""


def folder_of(run: Path) -> Path:
    """Where a run folder has the pictures of its training."""
    return run / "pictures" / "training"


def steps_in(folder: str | Path, suffix: str = ".png") -> dict[int, Path]:
    """The files that a `Film` wrote, by their step and in order."""
    paths = ((path.stem.removeprefix("step-"), path) for path in Path(folder).glob(f"*{suffix}"))
    named = {int(stem): path for stem, path in paths if stem.isdigit()}
    return dict(sorted(named.items()))


def spread(steps: list[int], most: int) -> list[int]:
    """At most `most` of the steps, both ends among them.

    They are even in their square root, as early steps differ more.
    """
    if len(steps) <= most:
        return steps
    roots = np.sqrt(steps)
    chosen: list[int] = []
    for place, aim in enumerate(np.linspace(roots[0], roots[-1], most)):
        nearest = int(np.abs(roots - aim).argmin())
        first = chosen[-1] + 1 if chosen else 0
        last = len(steps) - most + place  # leaves a step for each place after it
        chosen.append(min(max(nearest, first), last))
    return [steps[i] for i in chosen]


@contextmanager
def evaluating(flow: Flow) -> Iterator[None]:
    """Puts the flow into eval mode, and afterwards each module into the mode that it was in."""
    modes = {module: module.training for module in flow.modules()}
    try:
        with own_randomness(flow.base.like.device):
            yield
    finally:
        for module, training in modes.items():
            module.training = training
