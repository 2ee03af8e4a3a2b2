"""The run folder: what training leaves behind, and where each file is."""

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from copy import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from caudal import files
from caudal.data.writing import check_writable
from caudal.errors import InputError, one_line
from caudal.files import path_of
from caudal.flow import Flow
from caudal.recipes import Recipe
from caudal.training.checkpoint import MODEL
from caudal.training.state import OLD_STATE, STATE

if TYPE_CHECKING:
    from caudal.data import Schema

LEFT_BEHIND = (
    "config.yaml",
    "columns.yaml",
    "model.safetensors",
    STATE,
    OLD_STATE,
    "metrics.jsonl",
    "eval.json",
    "compare.json",
    "gaussian.safetensors",
    "alarm.json",
    "README.md",
    "report.html",
    "tensorboard",
    "trackio.txt",
    "pictures",
)
"""The contents of a run folder, which `overwrite` replaces; other files in it are left alone."""
_REMOVE = "without the file the run goes on, and its curve begins anew"
LOCK = ".lock"
"""Held while a process trains in the folder."""


def check_out(
    out: str | Path | None, *, resume: bool, overwrite: bool, from_best: bool = False
) -> None:
    """Refuses a run folder before any work, as `Run.check_folder`; None is a run in memory.

    Raises:
        InputError: the folder, or `resume` without one.
    """
    if out is not None:
        Run(out, resume=resume, from_best=from_best, overwrite=overwrite).check_folder()
    elif resume or from_best:
        raise InputError("`resume=True` needs the folder of the run to go on with: give `out`")


class Run:
    """A folder with the options, the model, its curve, the state to resume from, and a report.

    Naming a run neither creates nor checks anything on the disk.

    Args:
        path: the folder.
        recipe: the one that built the flow, so that the model can be loaded; a flow that a recipe
            has built knows it.
        schema: of the data that the flow was assembled for, if it was; the flow knows it, too.
        config: the content that training writes to `config.yaml`, if any.
        papers: further texts that training writes, by the names of their files.
        resume: go on from the state in the folder, or start if it has none yet. On the CPU the
            result is bit for bit that of a run without the break. Options may change except
            `seed`, `batch_size`, `precision` and `ema`; with more steps the rest follows the
            longer cosine.
        from_best: go on from the best model, with a new optimiser, rather than from the last
            state: after training diverged, or where the state is lost.
        overwrite: replace the run in the folder, once nothing is left to refuse.

    Attributes:
        model_path: the best weights, loadable by themselves (`caudal.load`).
        state_path: everything that resuming needs.
        metrics_path: one JSON object a line: points of the curve, and validations, which have
            `valid`.
        config_path: the options that the run was started with.

    Raises:
        InputError: both `resume` and `overwrite`.
    """

    def __init__(
        self,
        path: str | Path,
        recipe: Recipe | None = None,
        schema: "Schema | None" = None,
        config: Mapping[str, Any] | None = None,
        *,
        papers: Mapping[str, str] | None = None,
        resume: bool = False,
        from_best: bool = False,
        overwrite: bool = False,
    ) -> None:
        resume = resume or from_best
        if resume and overwrite:
            raise InputError("`resume` and `overwrite`: choose one of them")
        self.path, self.recipe, self.schema, self.config = path_of(path), recipe, schema, config
        self.papers = dict(papers or {})
        self.resume, self.from_best, self.overwrite = resume, from_best, overwrite
        self.model_path = self.path / MODEL
        self.state_path = self.path / STATE
        self.old_state_path = self.path / OLD_STATE
        self.metrics_path = self.path / "metrics.jsonl"
        self.config_path = self.path / "config.yaml"

    def of(self, flow: Flow) -> "Run":
        """The run, completed by what the flow was built from."""
        run = copy(self)
        if run.recipe is None and flow.origin is not None:
            run.recipe, run.schema = flow.origin.recipe, flow.origin.schema
        return run

    def read_config(self) -> dict[str, Any]:
        """The content of `config.yaml`.

        Raises:
            InputError: there is no such file, or it is no YAML mapping.
        """
        return read_config(self.config_path)

    def metrics(self) -> list[dict[str, Any]]:
        """The lines of `metrics.jsonl`; none before the first validation.

        Raises:
            InputError: a line is damaged.
        """
        if not self.metrics_path.exists():
            return []
        try:
            lines = self.metrics_path.read_text("utf-8").splitlines()
        except UnicodeDecodeError as error:
            raise InputError(f"{self.metrics_path}: {one_line(error)}; {_REMOVE}") from error
        return [self._record(number, line) for number, line in enumerate(lines, 1)]

    def _record(self, number: int, line: str) -> dict[str, Any]:
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            record = None
        if not isinstance(record, dict) or not _is_point(record):
            raise InputError(f"{self.metrics_path}, line {number}: no point of a curve; {_REMOVE}")
        return record

    def write_metrics(self, records: Sequence[dict[str, Any]]) -> None:
        """Replaces `metrics.jsonl`, atomically."""
        lines = (json.dumps(record) + "\n" for record in records)
        files.write_text(self.metrics_path, "".join(lines))

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Within, the folder is this process's alone to train in.

        Raises:
            InputError: another process trains in it.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.path / LOCK, timeout=0)
        try:
            lock.acquire()
        except Timeout:
            raise InputError(
                f"{self.path}: another process is training in this folder: wait for its end, or "
                f"give another `out`"
            ) from None
        try:
            yield
        finally:
            with suppress(OSError):  # Windows keeps the file of a lock that is held
                (self.path / LOCK).unlink()
            lock.release()

    @property
    def found_state(self) -> Path | None:
        """The state in the folder, if there is one: the new one, or that of caudal 0.1."""
        return next((p for p in (self.state_path, self.old_state_path) if p.exists()), None)

    def started(self) -> bool:
        """Whether training has left weights or a state here."""
        return self.model_path.exists() or self.found_state is not None

    def is_run(self) -> bool:
        """Whether training has begun here, if only with its config."""
        return self.started() or self.config_path.exists()

    def check_folder(self, name: str = "out", goes_on: bool = True) -> None:
        """Refuses a folder that a new run would damage, or to resume where nothing is.

        Args:
            name: what the caller's argument for the folder is called.
            goes_on: whether the caller can resume a run.

        Raises:
            InputError: a run is there, or other files are, or nothing can be written.
        """
        if self.path.exists() and not self.path.is_dir():
            raise InputError(f"{self.path} is a file: give another `{name}`")
        check_writable(self.path)
        self.check_resumable()
        if (self.path / LOCK).exists():  # left by a process that trains, or was killed
            with self.locked():
                pass
        if self.overwrite or not self.path.exists() or (self.resume and self.is_run()):
            return
        if self.started():
            way_on = "`resume=True` goes on with it, " if goes_on else ""
            raise InputError(
                f"{self.path} holds a run: {way_on}`overwrite=True` replaces it, another "
                f"`{name}` leaves it alone"
            )
        names = {entry.name for entry in self.path.iterdir()}
        others = {n for n in names - {"config.yaml", LOCK} if not files.is_temporary(n)}
        if others:
            raise InputError(
                f"{self.path} is a folder with other files ({sorted(others)[0]}): give another "
                f"`{name}`"
            )

    def check_resumable(self) -> None:
        """Refuses to resume a run in a folder that is not there, as after a typing mistake.

        Raises:
            InputError: names the folder.
        """
        if self.resume and not self.path.exists():
            raise InputError(
                f"{self.path} is not there, so that no run can go on in it: correct `out`, or "
                f"leave `resume=True` out"
            )

    def check_start(self) -> None:
        """Refuses a run that training cannot start, or go on with, in this folder.

        Raises:
            InputError: says why.
        """
        if self.recipe is None:
            raise InputError(
                f"{self.path}: no recipe has built this flow, and the model file could not be "
                f"loaded: put what builds it into a function, with @caudal.recipe above it"
            )
        self.check_resumable()
        if not self.resume and not self.overwrite and self.started():
            raise InputError(
                f"{self.path}: a run is there already; go on with it by `resume=True`, "
                f"or name another folder"
            )

    def begin(self) -> None:
        """Touches the folder for the first time, once nothing is left to refuse.

        Removes an old run that is to be replaced, and the temporary files of a process that was
        killed while writing.
        """
        files.sweep(self.path)
        if self.overwrite:
            self._clear()
        self.write_config()
        for name, text in self.papers.items():
            files.write_text(self.path / name, text)

    def write_config(self) -> None:
        """Replaces `config.yaml`, atomically, if the run has one."""
        if self.config is not None:
            write_config(self.path, self.config)

    def _clear(self) -> None:
        for name in LEFT_BEHIND:
            if (self.path / name).is_dir():
                shutil.rmtree(self.path / name)
            else:
                (self.path / name).unlink(missing_ok=True)


def _is_point(record: dict[str, Any]) -> bool:
    """Whether a record of `metrics.jsonl` is one that training writes."""
    numbers = all(isinstance(value, int | float) for value in record.values())
    return numbers and type(record.get("step")) is int and {"epoch", "train"} <= record.keys()


def read_config(path: Path) -> dict[str, Any]:
    """The names and values in a YAML file.

    Raises:
        InputError: there is no such file, or it is no YAML mapping.
    """
    try:
        content = files.read_yaml(path)
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"{path}: cannot be read; is this a run?") from error
    except ValueError as error:
        raise InputError(f"{path}: not YAML: {error}") from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: must hold names and values, such as lr: 0.001")
    return content


def write_config(path: str | Path, config: Mapping[str, Any]) -> None:
    """Writes `config` as YAML, in its order, atomically. `path` is the file or the run folder."""
    import yaml

    path = Path(path)
    if path.suffix not in (".yaml", ".yml"):
        path = path / "config.yaml"
    files.write_text(path, yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True))
