"""The machine that training runs on: devices, the compiler, and stopping signals."""

import logging
import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from types import FrameType
from typing import TYPE_CHECKING, Any

import torch

from caudal.errors import InputError, one_line
from caudal.training.options import Training
from caudal.training.processes import set_patience

if TYPE_CHECKING:
    from lightning_fabric import Fabric

PATIENCE = timedelta(minutes=5)
"""How long a step, a validation or a save of another process is waited for."""


_GRACE = 5.0  # seconds in which this process may meet the loss of another by itself


def launch(training: Training) -> "Fabric":
    """Fabric with its processes running.

    With several devices and no torchrun, the command that this process runs is started once more
    for each further device; see `processes.leads`.

    Raises:
        InputError: the machine lacks what was asked for.
    """
    from lightning_fabric import Fabric

    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # it tells of each process
    check_accelerator(training.accelerator)
    strategy: Any = "auto"
    if training.processes > 1:
        from lightning_fabric.strategies import DDPStrategy

        strategy = DDPStrategy(static_graph=True)  # allows parameters that no loss reaches
    try:
        fabric = Fabric(
            accelerator=training.accelerator,
            strategy=strategy,
            devices=training.devices,
            num_nodes=training.num_nodes,
            precision="64-true" if training.precision == "64-true" else "32-true",
        )
    except (RuntimeError, ValueError) as error:  # Lightning's own exceptions are RuntimeErrors
        asked = f"`accelerator` {training.accelerator}, `devices` {training.devices}"
        raise InputError(f"{asked}: {one_line(error)}") from error
    fabric.launch()
    if fabric.world_size > 1:
        set_patience(PATIENCE)
    return fabric


def tell_of_ends(fabric: "Fabric", text: str) -> None:
    """Lets this process say why it ends, should one that `launch` has started fail.

    Fabric looks after these, and would kill this process without a word, be it at work that has
    nothing to do with the others. Where it waits for them, it meets the loss by itself before.
    """
    for thread in threading.enumerate():
        if thread.name == "child-process-observer":
            thread._terminate_all = partial(_end, fabric, text)  # type: ignore[attr-defined]


def _end(fabric: "Fabric", text: str) -> None:
    end_processes(fabric)
    time.sleep(_GRACE)
    sys.stderr.write(f"caudal: error: {text}\n")
    sys.stderr.flush()
    os._exit(1)


def end_processes(fabric: "Fabric") -> None:
    """Ends the processes that `launch` has started, one of which may hang for ever."""
    for process in getattr(fabric._strategy.launcher, "procs", ()):
        process.kill()


def check_accelerator(name: str) -> None:
    """Refuses an accelerator that this machine lacks.

    Raises:
        InputError: says which one there is always.
    """
    has = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not has.get(name, True):
        raise InputError(f'no {name.upper()} device here: use `accelerator="cpu"`')


def find_device(name: str) -> "torch.device":
    """The device of that name; auto is a GPU where there is one.

    Raises:
        InputError: this machine does not have it.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        first = RuntimeError(str(error).partition("\n")[0])
        raise InputError(f"`device` {name}: {one_line(first)}") from None
    return device


def why_not_compile(device: torch.device) -> str | None:
    """The reason why torch.compile fails on this machine, in one line; None if it works.

    It compiles the smallest of functions: the only sure way to meet a missing C++ compiler or
    Triton before training does.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the compiler's own, which no user can act on
            torch.compile(_trifle)(torch.ones(8, device=device))
    except Exception as error:  # noqa: BLE001 - the compiler's own errors share no base
        return one_line(RuntimeError(str(error).strip().partition("\n")[0]), 200)
    return None


def _trifle(x: torch.Tensor) -> torch.Tensor:
    return (2 * x + 1).sum()


class Interrupted(KeyboardInterrupt):
    """Training was stopped from outside, and everything is saved. The message says how to go on.

    Attributes:
        exit_code: of a program, by convention: 130 for Ctrl-C, 143 for SIGTERM.
    """

    def __init__(self, message: str, exit_code: int = 130) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class Stop:
    """True once a signal has come; `signal` is its number."""

    signal: int = 0

    def __bool__(self) -> bool:
        return self.signal != 0


@contextmanager
def interruptible() -> Iterator[Stop]:
    """Within, the first signal sets the flag, and a second one acts at once as it usually does.

    Signals reach the main thread only; in any other thread this does nothing.
    """
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {s: signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)}

    def note(number: int, frame: FrameType | None) -> None:
        stop.signal = number
        for s, handler in before.items():
            signal.signal(s, handler)

    for s in before:
        signal.signal(s, note)
    try:
        yield stop
    finally:
        for s, handler in before.items():
            signal.signal(s, handler)
