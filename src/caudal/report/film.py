"""What a flow draws as its training goes on: a picture, or a sound, for some of the steps."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from caudal.flow import Flow
from caudal.numerics import own_randomness


class Film(ABC):
    """Called with a step, leaves a file in `folder` that shows what the flow has learned by then.

    The noise is the same each time. The flow's mode and the global random numbers are left as
    they were, so that training continues as it would have.

    Args:
        folder: for the files; the report looks for them in `folder_of` the run folder.
        flow: that is trained.
        seed: of the noise.
    """

    def __init__(self, folder: str | Path, flow: Flow, seed: int) -> None:
        self.folder, self.flow, self.seed = Path(folder), flow, seed

    def __call__(self, step: int) -> Path:
        """Draws and writes the file; returns its path."""
        with _evaluating(self.flow):
            return self.write(self.folder / f"step-{step:06d}")

    @abstractmethod
    def write(self, path: Path) -> Path:
        """Draws samples in evaluation mode, and writes them; `path` has no suffix yet."""


def folder_of(run: Path) -> Path:
    """Where a run folder has the pictures of its training."""
    return run / "pictures" / "training"


@contextmanager
def _evaluating(flow: Flow) -> Iterator[None]:
    """Puts the flow into eval mode, and afterwards each module into the mode that it was in."""
    modes = {module: module.training for module in flow.modules()}
    try:
        with own_randomness(flow.base.like.device):
            yield
    finally:
        for module, training in modes.items():
            module.training = training
