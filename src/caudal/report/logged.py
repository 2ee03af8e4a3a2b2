"""Training told to a dashboard as well: TensorBoard's files in the run, or trackio's database."""

import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, Protocol, get_args
from uuid import uuid4

from caudal.errors import InputError
from caudal.training.progress import Plan, Reporter

Log = Literal["tensorboard", "trackio"]
FOLDER = "tensorboard"
"""Where a run folder has the files of TensorBoard."""
NAME = "trackio.txt"
"""Where a run folder has the name of its run in trackio."""
PROJECT = "caudal"
"""Where trackio has the runs."""


class Sink(Protocol):
    """Where numbers and pictures go."""

    def numbers(self, values: dict[str, float], step: int) -> None:
        """Takes numbers by their names, as they are after a step."""

    def file(self, path: Path, step: int) -> None:
        """Takes a picture (.png) or a sound (.wav) of the flow as it is after a step."""

    def close(self) -> None:
        """Takes no more."""


class TensorBoard:
    """Files in `RUN/tensorboard`; `tensorboard --logdir` shows those of all runs in a folder."""

    def __init__(self, run: Path, first: int, resumed: bool) -> None:
        from torch.utils.tensorboard import SummaryWriter

        # Steps of a process that was killed after its last state come again.
        self.writer = SummaryWriter(str(run / FOLDER), purge_step=first + 1 if resumed else None)

    def numbers(self, values: dict[str, float], step: int) -> None:
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)

    def file(self, path: Path, step: int) -> None:
        import numpy as np

        if path.suffix == ".png":
            from PIL import Image

            with Image.open(path) as image:
                pixels = np.asarray(image.convert("RGB"))
            self.writer.add_image("samples", pixels, step, dataformats="HWC")
        elif path.suffix == ".wav":
            import soundfile

            samples, rate = soundfile.read(path, dtype="float32")
            self.writer.add_audio("samples", samples[None], step, sample_rate=rate)

    def close(self) -> None:
        self.writer.close()


class Trackio:
    """trackio's database on this machine, in the project `caudal`; `trackio show` shows it.

    A process that was killed after its last state has told steps that come again, with the same
    numbers. trackio takes nothing back, so what it has of a step is not told twice.
    """

    def __init__(self, run: Path, first: int, resumed: bool) -> None:
        import trackio

        self.trackio = trackio
        kept = run / NAME
        resumed = resumed and kept.exists()
        if not resumed:  # a name of its own: other folders may be called the same
            kept.parent.mkdir(parents=True, exist_ok=True)
            kept.write_text(f"{run.resolve().name}-{uuid4().hex[:8]}\n", encoding="utf-8")
        name = kept.read_text(encoding="utf-8").strip()
        self.told = _told(name) if resumed else set()
        with redirect_stdout(sys.stderr):  # the result of a command may be on standard output
            trackio.init(
                project=PROJECT,
                name=name,
                resume="allow" if resumed else "never",
                embed=False,
                auto_log_gpu=False,
                auto_log_cpu=False,
            )

    def numbers(self, values: dict[str, float], step: int) -> None:
        self._log(values, step)

    def file(self, path: Path, step: int) -> None:
        kinds = {".png": self.trackio.Image, ".wav": self.trackio.Audio}
        if path.suffix in kinds:
            self._log({"samples": kinds[path.suffix](str(path))}, step)

    def _log(self, values: dict[str, Any], step: int) -> None:
        if new := {k: v for k, v in values.items() if (step, k) not in self.told}:
            self.trackio.log(new, step=step)

    def close(self) -> None:
        with redirect_stdout(sys.stderr):
            self.trackio.finish()


def _told(name: str) -> set[tuple[int, str]]:
    """What trackio has of the run of that name: steps, and names of what was told of them."""
    from trackio.sqlite_storage import SQLiteStorage

    return {(row["step"], key) for row in SQLiteStorage.get_logs(PROJECT, name) for key in row}


SINKS: dict[str, Callable[[Path, int, bool], Sink]] = {
    "tensorboard": TensorBoard,
    "trackio": Trackio,
}


def check_log(log: str | None, out: Any) -> None:
    """Refuses a dashboard before any work.

    Raises:
        InputError: there is no such one, its package is missing, or there is no run folder.
    """
    if log is None:
        return
    if log not in SINKS:
        raise InputError(f"`log` {log!r}: must be one of {', '.join(get_args(Log))}")
    if find_spec(log) is None:
        raise InputError(f'`log="{log}"` needs a package: pip install "caudal[{log}]"')
    if out is None:
        raise InputError("`log` needs a run folder: give `out`")


class Logged:
    """A reporter that tells another one, and a dashboard: losses, rates, and what `watch` draws.

    Args:
        reporter: the other one.
        log: the dashboard.
        run: the run folder.
        resumed: whether the run goes on.
    """

    def __init__(self, reporter: Reporter, log: str, run: Path, resumed: bool) -> None:
        self.reporter, self.log, self.run, self.resumed = reporter, log, run, resumed
        self.sink: Sink | None = None

    def start(self, plan: Plan) -> None:
        if self.sink is None:
            self.sink = SINKS[self.log](self.run, plan.first, self.resumed)
        self.reporter.start(plan)

    def step(self, step: int, train: float) -> None:
        if self.sink is not None:
            self.sink.numbers({"loss/now": train}, step)
        self.reporter.step(step, train)

    def validated(self, record: dict[str, Any]) -> None:
        names = {"train": "loss/train", "valid": "loss/valid"}
        values = {
            names.get(name, f"training/{name}"): float(value)
            for name, value in record.items()
            if name != "step" and isinstance(value, int | float)
        }
        if self.sink is not None:
            self.sink.numbers(values, record["step"])
        self.reporter.validated(record)

    def note(self, text: str) -> None:
        self.reporter.note(text)

    def finish(self, stopped: str) -> None:
        if self.sink is not None:
            self.sink.close()
            self.sink = None
        self.reporter.finish(stopped)


class Shown:
    """What looks at a flow while it trains, whose pictures go to the dashboard of a reporter."""

    def __init__(self, watch: Any, logged: Logged) -> None:
        self.watch, self.logged = watch, logged
        self.always = getattr(watch, "always", False)

    def __call__(self, step: int) -> object:
        made = self.watch(step)
        if isinstance(made, Path) and self.logged.sink is not None:
            self.logged.sink.file(made, step)
        return made


def logged(reporter: Reporter, watch: Any, log: str | None, run: Any) -> tuple[Reporter, Any]:
    """The reporter and the watch of a run, told to a dashboard as well if there is to be one."""
    if log is None or run is None:
        return reporter, watch
    both = Logged(reporter, log, run.path, run.resume)
    return both, None if watch is None else Shown(watch, both)
