"""One step of training, and one look at the loss without it."""

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from caudal.data.source import Batch
from caudal.flow import Flow
from caudal.losses import Terms
from caudal.training.average import MovingAverage
from caudal.training.flips import flipped
from caudal.training.meter import Meter
from caudal.training.options import Training
from caudal.training.schedule import learning_rate
from caudal.training.seeds import STEP, mix, seed_all

if TYPE_CHECKING:
    from lightning_fabric import Fabric

Loss = Callable[[Flow, Tensor, Tensor | None], Tensor]
"""loss(flow, x, context): a scalar to minimise, the mean over the rows of x."""

_CHECK_EVERY = 32  # steps between looks at an accelerator, each of which waits for it


class NotFiniteError(ArithmeticError):
    """A loss or a gradient was not finite at `step`; the weights are still those before it."""

    def __init__(self, step: int) -> None:
        super().__init__(step)
        self.step = step


class _Objective(nn.Module):
    """The loss as a module, for what wraps modules: processes, the compiler."""

    def __init__(self, flow: Flow, loss: Loss, mixed: bool) -> None:
        super().__init__()
        self.flow = flow
        self.loss = loss
        self.mixed = mixed

    def forward(self, x: Tensor, context: Tensor | None) -> Tensor:
        # Not Fabric's mixed precision: that would round the data themselves.
        with torch.autocast(x.device.type, torch.bfloat16, enabled=self.mixed):
            return self.loss(self.flow, x, context)


class Engine:
    """The flow, its optimiser and its moving average, on their devices.

    After a number that is not finite the weights no longer change. On the CPU every step looks
    for one; an accelerator latches it, so that looking now and then is enough.
    """

    def __init__(
        self,
        flow: Flow,
        loss: Loss,
        training: Training,
        fabric: "Fabric",
        total: int,
        validation_loss: Loss | None = None,
    ) -> None:
        self.flow, self.training, self.fabric = flow, training, fabric
        self.loss = loss
        self.total = total
        mixed = training.precision == "bf16-mixed"
        plain = _Objective(flow, loss, mixed)
        self._measure = _Objective(flow, validation_loss, mixed) if validation_loss else plain
        objective: Any = torch.compile(plain) if training.compile else plain
        self.optimizer = make_optimizer(flow, training)
        wrapped, _ = fabric.setup(objective, self.optimizer)
        # Fabric's wrapper costs a small step some percent, and one process does not need it.
        self._objective = objective if fabric.world_size == 1 else wrapped
        self._parameters = [p for p in flow.parameters() if p.requires_grad]
        self.average = MovingAverage(flow, training.ema) if training.ema else None
        self.meter = Meter()
        self.check_every = 1 if self.like.device.type == "cpu" else _CHECK_EVERY
        self._latch = torch.zeros((), device=self.like.device)

    @property
    def like(self) -> Tensor:
        """A tensor on the device and in the precision of the flow."""
        return self.flow.base.like

    @property
    def terms(self) -> Mapping[str, Tensor] | None:
        """The terms of the loss at its last call, if it is one of several."""
        return self.loss.latest if isinstance(self.loss, Terms) else None

    def step(self, step: int, batch: Batch) -> None:
        """Step `step`, counted from 0, on this process's share of a batch.

        Raises:
            NotFiniteError: this step, or one of those since the last look, was not finite.
        """
        batch = self.begin(step, batch)
        loss = self._objective(batch.x, batch.context)
        loss.backward()
        norm = self._clip()
        loss = self._agreed(loss.detach())
        self.meter.add(loss, norm, self.terms)
        if self.check_every > 1:
            self._set_latch(loss + norm)
        if step % self.check_every == 0:
            self.check(step)
        rate = self.rate(step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        for parameter in self._parameters:
            parameter.grad = None
        if self.average:
            self.average.update(step)

    def rate(self, step: int) -> float:
        """The learning rate of a step."""
        return learning_rate(step, self.total, self.training)

    def begin(self, step: int, batch: Batch) -> Batch:
        """Makes the randomness of a step a function of the seed, the step and the process.

        Gives the batch as the step takes it: some images mirrored, where that is asked for.
        """
        numbers = (self.training.seed, STEP, step, self.fabric.global_rank)
        seed_all(mix(*numbers), self.like.device)
        return flipped(batch) if self.training.flips else batch

    def check(self, step: int) -> None:
        """Looks at the numbers since the last look, of which those of `step` are the last.

        Raises:
            NotFiniteError: one is not finite.
        """
        values = self.meter.unchecked()
        first = next((i for i, value in enumerate(values) if not math.isfinite(value)), None)
        if first is not None:
            raise NotFiniteError(step - (len(values) - 1 - first))

    def evaluate(self, batch: Batch) -> float:
        """The validation loss of a batch, in the mode and on the weights of now."""
        with torch.no_grad():
            return float(self._measure(batch.x, batch.context))

    def _clip(self) -> Tensor:
        """Shortens the gradient where it is too long, and gives the norm it had."""
        gradients = [p.grad for p in self._parameters if p.grad is not None]
        norm = nn.utils.get_total_norm(gradients)
        limit = self.training.clip
        # On the CPU a look costs less than a multiplication by one; elsewhere it costs more.
        if limit and (norm.device.type != "cpu" or float(norm) > limit):
            nn.utils.clip_grads_with_norm_(self._parameters, limit, norm)
        return norm

    def _agreed(self, loss: Tensor) -> Tensor:
        """The mean over processes, so that all of them stop, or go on, together."""
        if self.fabric.world_size == 1:
            return loss
        return cast(Tensor, self.fabric.all_reduce(loss, reduce_op="mean"))

    def _set_latch(self, value: Tensor) -> None:
        # A fused optimiser leaves the weights alone where `found_inf` is 1: no need to wait for
        # the device in each step to find out.
        self._latch = torch.maximum(self._latch, (~torch.isfinite(value)).float())
        self.optimizer.found_inf = self._latch  # type: ignore[attr-defined]


_GAIN, _DIRECTION = (f"parametrizations.weight.original{i}" for i in range(2))
"""What torch calls the two halves of a weight-normalised matrix."""


def make_optimizer(flow: Flow, training: Training) -> torch.optim.Optimizer:
    """AdamW in one fused kernel; without decay it is Adam. Only matrices decay.

    Of weight-normalised ones the gain does, as in Real-NVP: their length is the gain's alone.
    """
    named = [(name, p) for name, p in flow.named_parameters() if p.requires_grad]
    parameters = [p for _, p in named]
    decaying = [p for name, p in named if _decays(name, p)]
    chosen = {id(p) for p in decaying}
    others = [p for p in parameters if id(p) not in chosen]
    groups = [
        {"params": decaying, "weight_decay": training.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    # Each group is a kernel of its own, so there are two only where they differ.
    chosen_groups = groups if training.weight_decay else [{"params": parameters}]
    return torch.optim.AdamW(chosen_groups, lr=training.lr, weight_decay=0.0, fused=True)


def _decays(name: str, parameter: Tensor) -> bool:
    is_matrix = sum(size > 1 for size in parameter.shape) > 1
    return name.endswith(_GAIN) or (is_matrix and not name.endswith(_DIRECTION))
