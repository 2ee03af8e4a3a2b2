"""The loop: epochs of steps, validations between them, and what is kept of it all."""

import signal
import time
from collections.abc import Callable
from typing import Any, cast

from torch import Tensor

from caudal.data.source import Batch, Source
from caudal.errors import NumericalError
from caudal.training.devices import leads
from caudal.training.diagnosis import diagnose
from caudal.training.engine import Engine, NotFiniteError
from caudal.training.interruption import Interrupted, Stop
from caudal.training.keeper import Keeper
from caudal.training.meter import is_point
from caudal.training.progress import Plan, Reporter
from caudal.training.rows import place, share
from caudal.training.seeds import ORDER, mix, own_randomness
from caudal.training.state import Position
from caudal.training.validation import Validator

_TELL_EVERY = 0.1  # seconds between words to the reporter
_AGREE_EVERY = 32  # steps
_SIGNAL_EXIT = 128  # plus the number of the signal, by convention


class Trainer:
    """Trains from `position` on until the steps are done, patience runs out or a signal comes.

    Args:
        engine: the flow and its optimiser.
        train: training rows.
        validator: measures the flow.
        keeper: writes the run folder.
        identity: what makes this run this run; goes into the state.
        reporter: is told how it goes.
        stop: becomes true when a signal came.
        position: where to start.
        history: the records so far; more are added.
        watch: is shown the flow now and then.
    """

    def __init__(
        self,
        engine: Engine,
        train: Source,
        validator: Validator,
        keeper: Keeper,
        identity: dict[str, Any],
        reporter: Reporter,
        stop: Stop,
        position: Position,
        history: list[dict[str, Any]],
        watch: Callable[[int], object] | None = None,
    ) -> None:
        self.engine, self.options, self.total = engine, engine.training, engine.total
        self.train, self.validator, self.keeper = train, validator, keeper
        self.identity, self.reporter, self.stop = identity, reporter, stop
        self.position, self.history = position, history
        self.watch = watch if leads() else None
        self.per_epoch = train.n_rows // self.options.batch_size
        self.validate_every = self.options.validate_every or self.per_epoch
        self._told = self._clock = time.monotonic()
        self._rows, self._rows_since = 0, self._clock

    def run(self) -> str:
        """Trains, and says why it ended: "steps" or "patience".

        Raises:
            NumericalError: a loss or gradient was not finite.
            Interrupted: a signal came; the state is saved.
        """
        plan = Plan(self.total, self.position.step, self.options.batch_size, self.per_epoch)
        self.reporter.start(plan)
        self.engine.flow.train()
        while not (ended := self._ended()):
            epoch, done = divmod(self.position.step, self.per_epoch)
            for batch in self._epoch(epoch, done):
                self._step(batch)
                if self._ended():
                    break
        if self.position.best_step is None:  # resumed past its end before it was ever validated
            self._validate()
        return ended

    def _ended(self) -> str:
        if self._signalled():
            self._interrupt()
        if self.position.step >= self.total:
            return "steps"
        patience = self.options.patience
        return "patience" if 0 < patience <= self.position.stale else ""

    def _signalled(self) -> bool:
        """Whether a signal came; several processes ask each other, now and then, and agree."""
        fabric = self.engine.fabric
        if fabric.world_size == 1:
            return bool(self.stop)
        if self.position.step % _AGREE_EVERY:
            return False
        vote = self.engine.like.new_tensor(float(self.stop.signal))
        return float(cast(Tensor, fabric.all_reduce(vote, reduce_op="sum"))) > 0

    def _epoch(self, epoch: int, done: int) -> Any:
        seed = mix(self.options.seed, ORDER, epoch)
        return self.train.shuffled(self.options.batch_size, seed, skip=done)

    def _step(self, whole: Batch) -> None:
        fabric = self.engine.fabric
        batch = place(share(whole, fabric.global_rank, fabric.world_size), self.engine.like)
        try:
            self.engine.step(self.position.step, batch)
            self.position.step += 1
            step = self.position.step
            due = step % self.validate_every == 0 or step >= self.total
            if due or is_point(step):
                self.engine.check(step - 1)
        except NotFiniteError as error:
            raise NumericalError(self._explain(error.step)) from error
        self._rows += len(whole.x)
        if is_point(step) and not due:
            self._record(*self.engine.meter.drain())
        if due:
            self._validate()
        self._tell()

    def _validate(self) -> None:
        position = self.position
        train = self.engine.meter.validation()
        with self.validator.averaged():
            found = self.validator.measure()
            best = found["valid"] < position.best_valid
            if best:
                state = self.engine.flow.state_dict()
                position.best = {name: t.detach().cpu().clone() for name, t in state.items()}
                position.best_step, position.best_valid = position.step, found["valid"]
            self._show()
        position.stale = 0 if best else position.stale + 1
        self._record(*train, **found, best=best)
        if best:
            self.keeper.keep_best(self.engine.flow, position, self.identity)
        self._keep_state()
        self.reporter.validated(self.history[-1])

    def _show(self) -> None:
        """Shows the flow, in evaluation mode, to who watches; none of it counts as training."""
        step, number = self.position.step, self.position.step // self.validate_every
        if self.watch is None or not (step >= self.total or number.bit_count() == 1):
            return
        start = time.monotonic()
        self.engine.flow.eval()
        with own_randomness(self.engine.like.device):
            self.watch(step)
        self.engine.flow.train()
        passed = time.monotonic() - start
        self._clock += passed
        self._rows_since += passed

    def _record(self, train: float, grad_norm: float, **found: float | bool) -> None:
        """Adds a line to the curve; validations have `valid` and `rows_per_second` besides."""
        step = self.position.step
        self._count_time()
        record = {
            "step": step,
            "epoch": step / self.per_epoch,
            "train": train,
            "grad_norm": grad_norm,
            "lr": self.engine.rate(step - 1),
            "seconds": round(self.position.seconds, 3),
            **self.engine.meter.drain_terms(),
            **found,
        }
        if found:
            record["rows_per_second"] = round(self._rows / (self._clock - self._rows_since), 1)
            self._rows, self._rows_since = 0, self._clock
        self.history.append(record)

    def _count_time(self) -> None:
        now = time.monotonic()
        self.position.seconds += now - self._clock
        self._clock = now

    def _keep_state(self) -> None:
        self._count_time()
        self.keeper.keep_state(self.engine, self.position, self.history, self.identity)

    def _tell(self) -> None:
        now = time.monotonic()
        if now - self._told >= _TELL_EVERY and self.engine.meter.losses:
            self._told = now
            self.reporter.step(self.position.step, float(self.engine.meter.losses[-1]))

    def _interrupt(self) -> None:
        self._keep_state()
        how = f"stopped after step {self.position.step} of {self.total}"
        place = self.keeper.place
        advice = f"saved in {place}; --resume goes on from there" if place else "nothing is saved"
        raise Interrupted(f"{how}: {advice}", _SIGNAL_EXIT + (self.stop.signal or signal.SIGINT))

    def _explain(self, step: int) -> str:
        """Repeats the step that failed, which is a function of its number, to see why."""
        epoch, done = divmod(step, self.per_epoch)
        fabric = self.engine.fabric
        whole = next(self._epoch(epoch, done))
        batch = place(share(whole, fabric.global_rank, fabric.world_size), self.engine.like)
        why = diagnose(self.engine.flow, self.engine.begin(step, batch))
        text = f"loss or gradient not finite at step {step + 1} (epoch {epoch + 1}): {why}"
        if self.keeper.place is None or self.position.best_step is None:
            return f"{text}; no validated model yet"
        best = self.position.best_step
        return f"{text}; the model of step {best} and the last state stay in {self.keeper.place}"
