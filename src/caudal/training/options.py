"""How to train: the options, which are also flags, and the optimiser and average they ask for."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from annotated_types import Ge, Gt, Interval
from torch import Tensor, nn

from caudal.errors import InputError
from caudal.fields import check_fields
from caudal.training.muon import Muon, hidden_matrices
from caudal.training.seeds import check_seed
from caudal.training.shares import local

Precision = Literal["32-true", "64-true", "bf16-mixed"]
"""Precisions by their names in Fabric. float16 is left out: log-densities overflow it."""
Accelerator = Literal["auto", "cpu", "cuda", "mps"]
Strategy = Literal["ddp", "fsdp"]
Optimizer = Literal["adam", "muon"]
Count = Annotated[int, Ge(1)]
LASTING = ("seed", "batch_size", "precision", "ema", "optimizer")
"""Options that a resumed run cannot change, because the training so far depends on them."""

PLANNED = ("steps", "minutes", "validate_every", "validate_rows")
"""Options that planning by the clock settles."""


@dataclass(frozen=True)
class Training:
    """How to train. Every field is a flag of `caudal train`.

    Raises:
        InputError: a value is out of its range.
    """

    epochs: Count = 100
    """Passes over the training rows."""
    steps: Count | None = None
    """Optimiser steps, instead of epochs."""
    minutes: Annotated[float, Gt(0)] | None = None
    """Minutes that the whole job may take, to its report: steps and validations are planned for
    it on this machine, and the learning rate ends with them. The steps above are the most."""
    batch_size: Count = 256
    """Rows in each step, over all devices together."""
    lr: Annotated[float, Gt(0)] = 1e-3
    """Learning rate, reached after the warm-up."""
    optimizer: Optimizer = "adam"
    """adam, or muon, which moves hidden matrices of nets in orthogonal directions: sizes of flows
    of images mostly have it, for they learn more by it."""
    weight_decay: Annotated[float, Ge(0)] = 0.0
    """Decoupled weight decay (AdamW) of weight matrices, and of the gains of weight-normalised
    ones; biases and scales are left alone."""
    warmup: Annotated[int, Ge(0)] = 100
    """Steps over which the learning rate rises in a line from zero."""
    cosine: bool = True
    """Lower the learning rate to zero along a cosine after the warm-up; else keep it."""
    clip: Annotated[float, Ge(0)] = 5.0
    """Largest norm of the whole gradient; longer ones are shortened to it. 0 is off."""
    flips: bool = False
    """Images: mirror each one or not, at random, in each step; never in evaluation."""
    ema: Annotated[float, Interval(ge=0, lt=1)] = 0.0
    """Decay of a moving average of the weights, which is then what is validated. 0 is off."""
    patience: Annotated[int, Ge(0)] = 30
    """Stop after this many validations without gain. 0 never stops early."""
    validate_every: Count | None = None
    """Steps between validations and saves; once an epoch if not given."""
    validate_rows: Count | None = None
    """Rows of a validation, always the same ones; all there are if not given."""
    accumulate: Count = 1
    """Pieces in which a batch goes through the flow, one after the other: memory for one piece,
    and the same step; but batch normalisation has the moments of a piece."""
    recompute: bool = False
    """Compute activations once more for the gradient, instead of keeping them: memory for the
    largest layer alone, and about a third more time."""
    precision: Precision = "32-true"
    """Floating point of the weights, or of the matrix products alone (bf16-mixed)."""
    compile: bool = False
    """Compile the loss with torch.compile: slower to start, then faster."""
    accelerator: Accelerator = "auto"
    """cpu, cuda, mps, or auto for the best there is."""
    devices: Count = 1
    """Devices of each machine to train on, each with an equal share of every batch; torchrun and
    Slurm say it by themselves."""
    num_nodes: Count = 1
    """Machines to train on; torchrun, which starts the command on each, says it by itself."""
    strategy: Strategy = "ddp"
    """What several processes hold: ddp, each all weights; fsdp, each its share of the weights,
    their gradient and Adam's moments, for flows larger than a device."""
    seed: int = 0
    """Seed of the order of the rows, of dropout and of dequantisation noise."""

    @property
    def processes(self) -> int:
        """How many processes train, on all machines together."""
        return self.devices * self.num_nodes

    def __post_init__(self) -> None:
        check_fields(self)
        check_seed(self.seed)
        if self.recompute and self.compile:
            raise InputError(
                "`recompute=True` and `compile=True`: compiled code decides by itself what it "
                "keeps, choose one of them"
            )
        if self.strategy == "fsdp" and self.compile:
            raise InputError(
                '`strategy="fsdp"` and `compile=True`: compiled code does not gather weights, '
                "choose one of them"
            )
        pieces = self.processes * self.accumulate
        if self.batch_size % pieces:
            raise InputError(f"`batch_size` {self.batch_size}: must be a multiple of {pieces}")

    def total_steps(self, steps_per_epoch: int) -> int:
        """The number of steps of the whole run."""
        return self.steps if self.steps is not None else self.epochs * steps_per_epoch

    def learning_rate(self, step: float, total: float) -> float:
        """The learning rate of step `step` (from 0) of `total`: a line up, then a cosine to zero.

        It is lr (step + 1) / warmup while step < warmup, then lr (1 + cos(pi t)) / 2, where t goes
        from 0 at the end of the warm-up to 1 one step past the end. A warm-up longer than a tenth
        of the run is cut to that.
        """
        warmup = min(self.warmup, total // 10)
        if step < warmup:
            return self.lr * (step + 1) / warmup
        if not self.cosine:
            return self.lr
        done = (step - warmup) / max(total - warmup, 1)
        return self.lr * 0.5 * (1 + math.cos(math.pi * done))


_GAIN, _DIRECTION = (f"parametrizations.weight.original{i}" for i in range(2))
"""Torch's names of the two halves of a weight-normalised matrix."""


def make_optimizer(module: nn.Module, training: Training) -> torch.optim.Optimizer:
    """AdamW in one fused kernel; without decay it is Adam. Only matrices decay.

    Weight-normalised matrices decay by their gain, as in Real-NVP: it alone is their length. Muon
    moves hidden matrices otherwise.

    Raises:
        InputError: there are no weights to train.
    """
    hidden = set(map(id, hidden_matrices(module))) if training.optimizer == "muon" else set()
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}  # each is a kernel of its own
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            decay = training.weight_decay if _decays(name, parameter) else 0.0
            groups.setdefault((decay, id(parameter) in hidden), []).append(parameter)
    if not groups:
        raise InputError(
            "there is nothing to train: no weights of the flow take gradients: give it layers "
            "that have some"
        )
    decaying_first = sorted(groups.items(), key=lambda item: item[0], reverse=True)
    kind = {"adam": torch.optim.AdamW, "muon": Muon}[training.optimizer]
    return kind(
        [
            {"params": parameters, "weight_decay": decay, "orthogonal": is_hidden}
            for (decay, is_hidden), parameters in decaying_first
        ],
        lr=training.lr,
        weight_decay=0.0,
        fused=True,
    )


def _decays(name: str, parameter: Tensor) -> bool:
    is_matrix = sum(size > 1 for size in parameter.shape) > 1
    return name.endswith(_GAIN) or (is_matrix and not name.endswith(_DIRECTION))


class MovingAverage:
    """average = d average + (1 - d) weights after each step, d = min(decay, (1 + n) / (10 + n)).

    n counts the steps. The smaller decay of the first steps forgets the initial weights, which
    estimate nothing.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        self._live = dict(module.named_parameters())
        self._average = {name: p.detach().clone() for name, p in self._live.items()}

    @torch.no_grad()
    def reset(self) -> None:
        """Starts anew from the present weights."""
        for name, average in self._average.items():
            average.copy_(self._live[name])

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Takes in the weights after step `step`, counted from 0."""
        decay = min(self.decay, (1 + step) / (10 + step))
        averages, live = (list(map(local, held.values())) for held in (self._average, self._live))
        torch._foreach_lerp_(averages, live, 1 - decay)

    @contextmanager
    def swapped_in(self) -> Iterator[None]:
        """Within, the module holds the averages; after, its own weights again."""
        live = {name: p.detach().clone() for name, p in self._live.items()}
        self._write(self._average)
        try:
            yield
        finally:
            self._write(live)

    def state_dict(self) -> dict[str, Tensor]:
        """The averages, by the names of the weights."""
        return self._average

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restores averages from a `state_dict`."""
        for name, average in self._average.items():
            average.copy_(state[name])

    @torch.no_grad()
    def _write(self, values: dict[str, Tensor]) -> None:
        for name, parameter in self._live.items():
            parameter.copy_(values[name])
