"""The loop: epochs of steps, with validations and saves between them."""

import signal
import time
from collections.abc import Callable
from dataclasses import astuple
from typing import Any, cast

from torch import Tensor

from caudal.data.source import Batch, Source
from caudal.errors import NumericalError
from caudal.numerics import own_randomness
from caudal.training.cautions import after
from caudal.training.devices import Interrupted, Stop
from caudal.training.diagnosis import diagnose
from caudal.training.engine import Engine, NotFiniteError
from caudal.training.keeper import Keeper
from caudal.training.meter import is_point
from caudal.training.pace import Pace
from caudal.training.processes import leads
from caudal.training.progress import Plan, Reporter
from caudal.training.rows import share, to_device
from caudal.training.seeds import ORDER, mix
from caudal.training.state import Position
from caudal.training.threads import look
from caudal.training.validation import Validator, begins_fitted, is_better

_REPORT_EVERY = 0.1  # seconds between reports of a step
_WATCHING = 0.05  # share of the time of training that pictures may take where time is limited
_AGREE_EVERY = 32  # steps between votes of several processes
_SIGNAL_EXIT = 128  # plus the number of the signal, by convention
_LOST = "nothing is saved"


class Trainer:
    """Trains from `position` on until the steps are done, patience runs out or a signal comes.

    Args:
        engine: the flow and its optimiser.
        train: training rows.
        validator: measures the flow.
        keeper: writes the run folder.
        reporter: receives progress.
        stop: becomes true when a signal comes.
        position: where to start.
        history: the records so far; more are added.
        watch: is called at some validations, with the number of steps done.
        pace: keeps the time, where it is limited or was measured.
    """

    def __init__(
        self,
        engine: Engine,
        train: Source,
        validator: Validator,
        keeper: Keeper,
        reporter: Reporter,
        stop: Stop,
        position: Position,
        history: list[dict[str, Any]],
        watch: Callable[[int], object] | None = None,
        pace: Pace | None = None,
    ) -> None:
        self.engine, self.options = engine, engine.training
        self.train, self.validator, self.keeper = train, validator, keeper
        self.reporter, self.stop = reporter, stop
        self.position, self.history, self.first = position, history, position.step
        self.watch, self.pace = watch if leads() else None, pace or Pace()
        self._always = getattr(watch, "always", False)
        self.per_epoch = train.n_rows // self.options.batch_size
        self.validate_every = self.options.validate_every or self.per_epoch
        self._reported = self._clock = time.monotonic()
        self._rows, self._rows_since = 0, self._clock
        self._watched = 0.0
        self._best_collapsed = self._told = False

    @property
    def total(self) -> int:
        """The number of steps of the whole run, as planned so far."""
        return self.engine.total

    def run(self) -> str:
        """Trains, and returns why training ended: "steps", "patience" or "minutes".

        Raises:
            NumericalError: a loss or gradient was not finite.
            Interrupted: a signal came; the state is saved.
        """
        self._tell_plan(self.pace.ahead)
        start = time.monotonic()
        self.engine.flow.train()
        if self.position.step == 0 and begins_fitted(self.engine.flow):
            self._keep_if_best(self.validator.measure())
            self.position.start = self.validator.parts
            self._keep_state()
            self.keeper.keep_best(self.engine.flow, self.position)
            self.pace.paused(time.monotonic() - start)
        while not (ended := self._ended()):
            epoch, done = divmod(self.position.step, self.per_epoch)
            for batch in self._epoch(epoch, done):
                self._step(batch)
                if self._ended():
                    break
        measured = [record["step"] for record in self.history if "valid" in record]
        cut = ended == "minutes" and measured[-1:] != [self.position.step]
        if cut or not measured:  # it was cut short, or resumed past its end
            self._validate()
        for line in after(self.engine, self.position.step - self.first, self.history):
            self.reporter.note(line)
        return ended

    def _tell_plan(self, seconds: float | None) -> None:
        """Tells the reporter what is ahead."""
        work = self.total, self.position.step, self.options.batch_size, self.per_epoch
        self.reporter.start(Plan(*work, self.validate_every, seconds))

    def _ended(self) -> str:
        if self._signalled():
            self._interrupt()
        if self.position.step >= self.total:
            return "steps"
        if self._overdue():
            return "minutes"
        patience = self.options.patience
        return "patience" if 0 < patience <= self.position.stale else ""

    def _overdue(self) -> bool:
        """Whether the time is over; several processes, whose clocks differ, take their steps."""
        alone = self.engine.fabric.world_size == 1
        return alone and self.position.step > self.first and self.pace.is_over

    def _signalled(self) -> bool:
        """Whether a signal came; several processes vote now and then, so that they agree."""
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
        number = self.position.step
        try:
            self.engine.step(number, self._share(whole))
            self.position.step += 1
            step = self.position.step
            due = step % self.validate_every == 0 or step >= self.total
            if due or is_point(step):
                self.engine.check(step - 1)
        except NotFiniteError as error:
            failed = whole if error.step == number else self._batch(error.step)
            raise NumericalError(self._explain(error.step, failed)) from error
        self._rows += len(whole.x)
        if is_point(step) and not due:
            self._record(*self.engine.meter.drain())
        if due or is_point(step):
            self._keep_time(due)
        if due:
            self._validate()
        self._report()
        look()

    def _keep_time(self, due: bool) -> None:
        """Plans the steps that are left again, where they no longer fit the time."""
        fabric, step, total = self.engine.fabric, self.position.step, self.total
        if not self.pace.limited or step >= total or not (due or fabric.world_size == 1):
            return
        planned = fabric.broadcast(self.pace.steps(step, total, self.validate_every))
        if planned == total:
            return
        self.engine.turn(step, planned)
        self.position.course = [*astuple(self.engine.course)]
        if not due:  # else a validation follows, which keeps it
            self._keep_state()
        self.keeper.plan(self.engine.training)
        speed = "slower" if planned < total else "faster"
        self.reporter.note(f"the machine has become {speed}: planned anew, so that the time holds")
        self._tell_plan(self.pace.left)

    def _validate(self) -> None:
        position, start = self.position, time.monotonic()
        train = self.engine.meter.validation()
        with self.validator.averaged():
            measured = self.validator.measure()
            best = self._keep_if_best(measured)
            self._show()
        position.stale = 0 if best else position.stale + 1
        self._record(*train, **measured, best=best)
        self._keep_state()
        if best:
            self.keeper.keep_best(self.engine.flow, position)
        self.reporter.validated(self.history[-1])
        self.pace.paused(time.monotonic() - start)

    def _keep_if_best(self, measured: dict[str, float]) -> bool:
        """Keeps the weights in memory if no others have validated better; says whether it did.

        A flow that begins as a model of the data must be better than that beyond chance. One that
        has collapsed validates better than it is, and is kept only while there is no other.
        """
        position = self.position
        if measured["valid"] >= position.best_valid and not self._best_collapsed:
            return False
        if position.start and not is_better(self.validator.parts, position.start):
            return False
        collapsed = self._has_collapsed()
        if collapsed and position.best:
            return False
        self._best_collapsed = collapsed
        state = self.engine.flow.state_dict()
        position.best = {name: t.detach().cpu().clone() for name, t in state.items()}
        position.best_step, position.best_valid = position.step, measured["valid"]
        return True

    def _has_collapsed(self) -> bool:
        """Whether the flow's scores are not those of its weights; the user is told so once."""
        gap = self.validator.precision_gap()
        if gap.collapsed and not self._told:
            self._told = True
            self.reporter.note(
                f"the flow has collapsed by step {self.position.step}: float64 shows that scores "
                f"of {gap.share:.0%} of the rows are wrong, by {gap.nats:.3g} nats, so it does "
                f"not count as best; a lower `lr` helps, or data without copies of columns"
            )
        return gap.collapsed

    def _show(self) -> None:
        """Calls `watch` with the flow in evaluation mode; the time is not counted as training."""
        engine, shows = self.engine, self._shows()
        if not (engine.fabric.broadcast(shows) if engine.sharded else shows):
            return
        start = time.monotonic()
        with engine.whole() as flow:
            flow.eval()
            if self.watch is not None:
                engine.together = False
                with own_randomness(engine.like.device):
                    self.watch(self.position.step)
                engine.together = True
            flow.train()
        passed = time.monotonic() - start
        self._clock += passed
        self._rows_since += passed
        self._watched += passed

    def _shows(self) -> bool:
        """Whether `watch` is called now."""
        step, number = self.position.step, self.position.step // self.validate_every
        sharded = self.engine.sharded
        if self.watch is None or (sharded and sharded.large):
            return False
        is_due = step >= self.total or number.bit_count() == 1
        is_cheap = self._watched <= _WATCHING * self.position.seconds
        # Where time is limited pictures take their share of it, and so do those between.
        return (is_cheap or (is_due and not self.pace.limited)) and (is_due or self._always)

    def _record(self, train: float, grad_norm: float, **measured: float | bool) -> None:
        """Adds a record to the curve; validations have `valid` and `rows_per_second` besides."""
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
            **measured,
        }
        if measured:
            seconds = max(self._clock - self._rows_since, 1e-9)  # some clocks are coarse
            record["rows_per_second"] = round(self._rows / seconds, 1)
            self._rows, self._rows_since = 0, self._clock
        self.history.append(record)

    def _count_time(self) -> None:
        now = time.monotonic()
        self.position.seconds += now - self._clock
        self._clock = now

    def _keep_state(self) -> None:
        self._count_time()
        self.keeper.keep_state(self.engine, self.position, self.history)

    def _report(self) -> None:
        now = time.monotonic()
        if now - self._reported >= _REPORT_EVERY and self.engine.meter.losses:
            self._reported = now
            self.reporter.step(self.position.step, float(self.engine.meter.losses[-1]))

    def _interrupt(self) -> None:
        self._keep_state()
        self.engine.fabric.barrier()  # those that write nothing would end first
        how = f"stopped after step {self.position.step} of {self.total}"
        run = self.keeper.run
        advice = f"saved in {run.path}; `resume=True` goes on from there" if run else _LOST
        raise Interrupted(f"{how}: {advice}", _SIGNAL_EXIT + (self.stop.signal or signal.SIGINT))

    def _batch(self, step: int) -> Batch:
        """The rows of an earlier step; those of a density are its chains, where they are now."""
        return cast(Batch, next(self._epoch(*divmod(step, self.per_epoch))))

    def _explain(self, step: int, whole: Batch) -> str:
        """Repeats the step that failed, on its batch, to see why."""
        with self.engine.whole() as flow:
            batch = self.engine.begin(step, to_device(whole, flow.base.like))
            why = diagnose(flow, batch)
        epoch = step // self.per_epoch + 1
        text = f"loss or gradient not finite at step {step + 1} (epoch {epoch}): {why}"
        run, best = self.keeper.run, self.position.best_step
        if run is None or best is None:
            return f"{text}; no validated model yet"
        return (
            f"{text}; the model of step {best} stays in {run.path}: `from_best=True` goes on from "
            f"there, best with a lower `lr`"
        )

    def _share(self, whole: Batch) -> Batch:
        """This process's share of a batch, on its device."""
        fabric = self.engine.fabric
        return to_device(share(whole, fabric.global_rank, fabric.world_size), self.engine.like)
