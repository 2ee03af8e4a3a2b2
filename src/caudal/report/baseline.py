"""Baselines: simple densities that a flow is measured against, and their files."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from caudal import files
from caudal.data import Batch, Schema
from caudal.errors import InputError, one_line
from caudal.flow import Flow
from caudal.training.tensors import read_tensors

_TYPES = {
    "table": "caudal.report.gaussian:Gaussian",
    "density": "caudal.report.gaussian:Gaussian",
    "tensors": "caudal.report.gaussian:Gaussian",
    "images": "caudal.report.gaussian:PixelGaussian",
    "audio": "caudal.report.audio.autoregression:Autoregression",
}


class Baseline(ABC):
    """A density of one kind of data that depends on the training items and not on the recipe.

    So any two runs on the same data are measured by the same thing.

    Attributes:
        name: what it is called.
        note: what it is, in words.
    """

    name: ClassVar[str]
    note: str

    @classmethod
    @abstractmethod
    def fit(
        cls, flow: Flow, source: Any, schema: Any, seed: int = 0, most: int | None = None
    ) -> Self:
        """The baseline of highest likelihood for the training items of `source`.

        Args:
            flow: lifts the rows of a table; other baselines do not use it.
            source: the training items.
            schema: what they are.
            seed: of the dequantisation noise.
            most: how many items, or samples of sound, it is fitted to at most; None for as many
                as are worth their time.
        """

    @classmethod
    def seconds(cls, source: Any, schema: Any) -> tuple[float, float]:
        """How long `fit` takes in any case, and for each item; 0 where it is not worth a plan."""
        return 0.0, 0.0

    @abstractmethod
    def log_prob(
        self, flow: Flow, batch: Batch, same: torch.Generator, own: torch.Generator
    ) -> Tensor:
        """Log-probability of items in nats, where the flow's is one: (B,) float64.

        Args:
            flow: the one that the baseline stands beside.
            batch: the items, on the flow's device.
            same: draws the noise that the flow drew for these items.
            own: on the CPU, draws noise that does not depend on the flow.
        """

    @abstractmethod
    def fits(self, flow: Flow, schema: Any) -> bool:
        """Whether it is a density of the data of that flow and schema."""

    @abstractmethod
    def tensors(self) -> dict[str, Tensor]:
        """What its file holds."""

    @classmethod
    @abstractmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], note: str) -> Self:
        """The baseline whose `tensors` these are."""


def baseline_type(kind: str) -> type[Baseline]:
    """The baseline for a kind of data: table, density, images or audio."""
    module, _, name = _TYPES[kind].partition(":")
    baseline: type[Baseline] = getattr(import_module(module), name)
    return baseline


def save_baseline(path: str | Path, baseline: Baseline) -> None:
    """Writes a baseline to a .safetensors file, atomically."""
    from safetensors.torch import save

    tensors = {name: value.cpu().contiguous() for name, value in baseline.tensors().items()}
    with files.atomic(path) as temporary:
        # `save_file` would make a file that other users may not read.
        temporary.write_bytes(save(tensors, {"note": baseline.note}))


def load_baseline(
    path: str | Path, kind: str, flow: Flow | None = None, schema: Schema | None = None
) -> Baseline:
    """The baseline that `save_baseline` wrote.

    Args:
        path: the file.
        kind: of the data.
        flow: given with its schema, the baseline must be of the same data.
        schema: of the flow's data.

    Raises:
        InputError: the file is damaged, holds no such baseline, or one of other data.
    """
    try:
        texts, tensors = read_tensors(Path(path))
        baseline = baseline_type(kind).from_tensors(tensors, texts.get("note", ""))
    except (OSError, KeyError, ValueError) as error:
        raise InputError(
            f"{path} is damaged ({one_line(error)}): remove it, it is made anew"
        ) from None
    if flow is not None and not baseline.fits(flow, schema):
        raise InputError(f"{path} is of other data than the run's: remove it, it is made anew")
    return baseline
