"""One step of training, and one evaluation of the loss without a step."""

import math
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from copy import deepcopy
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from caudal.bijection import uncut
from caudal.data.source import Batch, weights_of
from caudal.errors import InputError
from caudal.flow import Flow
from caudal.losses import Terms, rows_of
from caudal.nets import Spectral
from caudal.numerics import normalised_whole, recomputing, redirected, seed_own, sharing
from caudal.training.meter import Meter
from caudal.training.options import MovingAverage, Training, make_optimizer
from caudal.training.pace import Course
from caudal.training.rows import flipped, share
from caudal.training.seeds import STEP, mix, seed_global
from caudal.training.shares import norm_of

if TYPE_CHECKING:
    from lightning_fabric import Fabric

    from caudal.training.sharding import Sharded

Weights = Mapping[str, Tensor]
Loss = Callable[[Any, Tensor, Tensor | None], Tensor]
"""loss(flow, x, context): what to minimise, of each row of x (B,), or its mean as a scalar."""

_DRAWING = (_DropoutNd, nn.RReLU)
_CHECK_EVERY = 32  # steps between checks on an accelerator, each of which waits for it


class NotFiniteError(ArithmeticError):
    """A loss or a gradient was not finite at `step`; the weights are still those before it."""

    def __init__(self, step: int) -> None:
        super().__init__(step)
        self.step = step


class _Objective(nn.Module):
    """The loss as a module, for what wraps modules: several processes, the compiler."""

    def __init__(self, flow: Flow, loss: Loss, mixed: bool) -> None:
        super().__init__()
        self.flow = flow
        self.loss = loss
        self.mixed = mixed

    def forward(self, x: Tensor, context: Tensor | None, weights: Tensor | None = None) -> Tensor:
        """The losses of the rows, weighted, or their mean if that is all the loss tells."""
        # Fabric's own mixed precision would round the data too.
        with torch.autocast(x.device.type, torch.bfloat16, enabled=self.mixed):
            losses = self.loss(self.flow, x, context)
        if weights is None:
            return losses
        if losses.shape != weights.shape:
            raise InputError(
                f"rows with `weights` need a loss of each row, ({len(x)},), got a loss of shape "
                f"{tuple(losses.shape)}: leave its mean out"
            )
        return losses * weights


class Engine:
    """The flow, its optimiser and its moving average, on their devices.

    After a number that is not finite the weights no longer change. On the CPU every step checks
    for one; an accelerator latches it, so that an occasional check is enough.
    """

    def __init__(
        self,
        flow: Flow,
        loss: Loss,
        training: Training,
        fabric: "Fabric",
        total: int,
        validation_loss: Loss | None = None,
        weighted: bool = False,
    ) -> None:
        self.flow, self.training, self.fabric, self.total = flow, training, fabric, total
        self.loss, self.validation_loss = loss, validation_loss or loss
        mixed = training.precision == "bf16-mixed"
        plain = _Objective(flow, loss if not weighted else rows_of(loss) or loss, mixed)
        measured = rows_of(self.validation_loss) or self.validation_loss
        self._measure = _Objective(flow, measured, mixed)
        # A loss of one's own may take derivatives with respect to x, as score matching does.
        self._without_grad = torch.no_grad if _is_ours(self.validation_loss) else nullcontext
        objective: Any = torch.compile(plain) if training.compile else plain
        if training.recompute and any(isinstance(part, Spectral) for part in flow.modules()):
            raise InputError(
                "`recompute=True`: spectral layers change with each pass, and cannot be computed "
                "again: leave it out, or give `accumulate`"
            )
        self.sharded: Sharded | None = None
        self.together = True  # whether the other processes come to the same place as this one
        self._objectives, self._objective = (plain, self._measure), objective
        self.shards = training.strategy == "fsdp" and fabric.world_size > 1
        if self.shards:
            self._prepare(flow)
        else:
            wrapped = fabric.setup(objective)
            # Fabric's outer wrapper rounds losses to float32, and slows small steps.
            self._objective = objective if fabric.world_size == 1 else wrapped._forward_module
        self._take(flow)
        self.meter = Meter()
        foreign = not training.compile and (_draws(flow) or not _is_ours(loss))
        self._drawing: Callable[[], Any] = redirected if foreign else nullcontext
        # PyTorch's batch normalisation knows of one process alone.
        whole = fabric.world_size > 1 and any(isinstance(m, _BatchNorm) for m in flow.modules())
        self._normalising: Callable[[], Any] = normalised_whole if whole else nullcontext
        on_cpu = self.like.device.type == "cpu"
        self.check_every = 1 if on_cpu or self.shards else _CHECK_EVERY
        self._latch = torch.zeros((), dtype=torch.float32, device=self.like.device)
        self.clipped: int | Tensor = 0
        self.course = Course()

    @property
    def like(self) -> Tensor:
        """A tensor on the device and in the precision of the flow."""
        return self.flow.base.like

    def _take(self, flow: Flow) -> None:
        """Trains this flow from now on."""
        self.flow = flow
        for objective in self._objectives:
            objective.flow = flow
        self.optimizer = make_optimizer(flow, self.training)
        self._parameters = [p for p in flow.parameters() if p.requires_grad]
        self.average = MovingAverage(flow, self.training.ema) if self.training.ema else None

    def _prepare(self, flow: Flow) -> None:
        """Brings a flow that will be sharded into the precision of training, on the CPU."""
        from caudal.training.sharding import check_shardable

        check_shardable(flow, self.loss)
        if self.training.precision == "64-true":
            flow.double()

    def shard(self) -> None:
        """Shares out the weights over the processes, where that was asked for.

        They have their first values by then: statistics are taken by the whole flow.
        """
        if self.shards:
            from caudal.training.sharding import Sharded

            self.sharded = Sharded(self.flow, self.fabric.device)
            self._take(self.sharded.flow)

    def call(self, function: Callable[..., Any], *inputs: Any) -> Any:
        """`function(*inputs)`, which runs the flow, sharded or not."""
        return self.sharded.call(function, *inputs) if self.sharded else function(*inputs)

    def whole(self) -> AbstractContextManager[Flow]:
        """Within, a flow that is not sharded, with the weights of now; all processes come here."""
        return self.sharded.whole() if self.sharded else nullcontext(self.flow)

    def leave(self, weights: Weights | None = None) -> None:
        """Leaves the flow as it was given, with these weights, or those of now."""
        if self.sharded:
            self.sharded.restore(weights)
        elif weights is not None:
            self.flow.load_state_dict(weights)

    def step(self, step: int, batch: Batch) -> None:
        """Takes step `step`, counted from 0, on this process's share of a batch.

        Raises:
            NotFiniteError: this step, or one since the last check, was not finite.
        """
        told = [self._learn(step, batch, piece) for piece in range(self.training.accumulate)]
        norm = self._clip()
        loss, terms = self._agreed(*map(_mean, zip(*told, strict=True)))
        self.meter.add(loss, norm, terms)
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

    def _learn(self, step: int, batch: Batch, piece: int) -> tuple[Tensor, Mapping[str, Tensor]]:
        """Adds the gradient of a piece of this process's share; gives its loss, and the terms.

        A piece is a share of the whole batch like that of a process, so that its rows have the
        same noise in any number of pieces and processes.
        """
        pieces, world = self.training.accumulate, self.fabric.world_size
        place = self.fabric.global_rank + world * piece, world * pieces
        with sharing(*place, len(batch.x) * world, world):
            part = self.begin(step, share(batch, piece, pieces), place[0])
            with self._drawing(), self._normalising(), recomputing(self.training.recompute):
                loss = self.call(self._objective, *part, weights_of(part))
            loss = loss.mean() if loss.ndim else loss
            (loss / pieces if pieces > 1 else loss).backward()
        return loss.detach(), dict(_terms_of(self.loss))

    def sharing(self, rows: int) -> AbstractContextManager[None]:
        """Within, this process works on its share of a batch of so many rows."""
        return sharing(self.fabric.global_rank, self.fabric.world_size, rows)

    def remember(self) -> Callable[[], None]:
        """A function that puts everything back as it is now, after steps that shall not count."""
        flow = {name: t.detach().clone() for name, t in self.flow.state_dict().items()}
        optimizer = deepcopy(self.optimizer.state_dict())
        meter = deepcopy(self.meter.state_dict())
        average = deepcopy(self.average.state_dict()) if self.average else {}
        terms = deepcopy(self.loss.state_dict()) if isinstance(self.loss, Terms) else {}

        def put_back() -> None:
            self.flow.load_state_dict(flow)
            self.optimizer.load_state_dict(optimizer)
            self.meter.load_state_dict(meter, self.like)
            if self.average:
                self.average.load_state_dict(average)
            if isinstance(self.loss, Terms):
                self.loss.load_state_dict(terms)
            self._latch.zero_()
            self.clipped = 0

        return put_back

    def follow(self, training: Training, rows: int) -> None:
        """Goes on with other options of the same kind of steps: their number, the validations."""
        self.training = training
        self.total = training.total_steps(rows // training.batch_size)

    def turn(self, step: int, total: int) -> None:
        """After `step`, plans so many steps in all: the learning rate goes on from where it is."""
        self.course = self.course.bent(step, self.total)
        self.training, self.total = replace(self.training, steps=total), total

    def rate(self, step: int) -> float:
        """The learning rate of a step."""
        return self.training.learning_rate(*self.course.place(step, self.total))

    def begin(self, step: int, batch: Batch, place: int | None = None) -> Batch:
        """Makes the randomness of a step a function of the seed and the step.

        Returns the batch as the step takes it: with `flips`, some images are mirrored. Compiled
        code knows of no shares: the one at `place`, by default that of the process, has its own
        draws.
        """
        place = self.fabric.global_rank if place is None else place
        numbers = (self.training.seed, STEP, step)
        seed_own(mix(*numbers, 0))
        if self.training.compile:
            seed_global(mix(*numbers, place), self.like.device)
        return flipped(batch) if self.training.flips else batch

    def check(self, step: int) -> None:
        """Checks the numbers since the last check, of which those of `step` are the last.

        Raises:
            NotFiniteError: one is not finite.
        """
        values = self.meter.unchecked()
        first = next((i for i, value in enumerate(values) if not math.isfinite(value)), None)
        if first is not None:
            raise NotFiniteError(step - (len(values) - 1 - first))

    @property
    def tells_rows(self) -> bool:
        """Whether the validation loss is told row by row."""
        return rows_of(self.validation_loss) is not None

    def evaluate(self, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """The validation losses of the rows (B,), or their mean (1,) if that is all it tells.

        Beside them its terms, if any, as `valid_NAME`. The flow is taken in its present mode and
        on its present weights. Shares of a batch may differ by a row, but processes must gather
        equally often: while the flow is sharded no batch is cut.
        """
        with self._without_grad(), self._drawing(), uncut() if self.sharded else nullcontext():
            losses = self.call(self._measure, *batch, weights_of(batch)).detach()
        terms = _terms_of(self.validation_loss)
        return losses.reshape(-1), {f"valid_{name}": float(v) for name, v in terms.items()}

    def _clip(self) -> Tensor:
        """Shortens the gradient where it is too long, and returns the norm it had."""
        gradients = [p.grad for p in self._parameters if p.grad is not None]
        norm = norm_of(gradients)
        limit = self.training.clip
        self.clipped = self.clipped + (norm > limit if limit else 0)
        # On the CPU reading the norm costs less than multiplying by one; elsewhere it costs more.
        if limit and (norm.device.type != "cpu" or float(norm) > limit):
            nn.utils.clip_grads_with_norm_(self._parameters, limit, norm)
        return norm

    def _agreed(
        self, loss: Tensor, terms: Mapping[str, Tensor]
    ) -> tuple[Tensor, Mapping[str, Tensor]]:
        """The means over processes, so that all of them stop, or go on, together."""
        if self.fabric.world_size == 1:
            return loss, terms
        mine = torch.stack([loss, *(term.detach().to(loss) for term in terms.values())])
        means = cast(Tensor, self.fabric.all_reduce(mine, reduce_op="mean"))
        return means[0], dict(zip(terms, means[1:], strict=True))

    def _set_latch(self, value: Tensor) -> None:
        # A fused optimiser leaves the weights alone where `found_inf` is 1: no need to wait for
        # the device in each step to learn whether it is.
        self._latch = torch.maximum(self._latch, (~torch.isfinite(value)).float())
        self.optimizer.found_inf = self._latch  # type: ignore[attr-defined]


def _mean(values: Any) -> Any:
    """The mean of numbers, or of mappings of the same names to numbers."""
    first, *others = values
    if not others:
        return first
    if isinstance(first, Mapping):
        return {name: _mean([value[name] for value in values]) for name in first}
    return torch.stack([value.detach() for value in values]).mean()


def _draws(flow: Flow) -> bool:
    """Whether parts that do not ask caudal for random numbers may draw some, as dropout."""
    return any(
        not _is_ours(part)
        or isinstance(part, _DRAWING)
        or (getattr(part, "dropout", 0) and not part.__module__.startswith("caudal."))
        for part in flow.modules()
    )


def _is_ours(part: Any) -> bool:
    """Whether an object, or a function, is of a module of caudal or of PyTorch."""
    return str(part.__module__).startswith(("caudal.", "torch.nn."))


def _terms_of(loss: Loss) -> Mapping[str, Tensor]:
    """The terms of a loss at its last call; none if it is not a sum of several."""
    return loss.latest if isinstance(loss, Terms) else {}
