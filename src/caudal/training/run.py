"""The run folder: what training leaves behind, and where each file is."""

import json
import shutil
from collections.abc import Mapping, Sequence
from copy import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any

from caudal import files
from caudal.data.writing import check_writable
from caudal.errors import InputError, one_line
from caudal.files import path_of
from caudal.flow import Flow
from caudal.recipes import Recipe
from caudal.training.checkpoint import MODEL

if TYPE_CHECKING:
    from caudal.data import Schema

LEFT_BEHIND = (
    "config.yaml",
    "columns.yaml",
    "model.safetensors",
    "state.pt",
    "metrics.jsonl",
    "eval.json",
    "compare.json",
    "gaussian.safetensors",
    "alarm.json",
    "report.html",
    "pictures",
)
"""The contents of a run folder, which `overwrite` replaces; other files in it are left alone."""


def check_out(out: str | Path | None, *, resume: bool, overwrite: bool) -> None:
    """Refuses a run folder before any work, as `Run.check_folder`; None is a run in memory.

    Raises:
        InputError: the folder, or `resume` without one.
    """
    if out is not None:
        Run(out, resume=resume, overwrite=overwrite).check_folder()
    elif resume:
        raise InputError("`resume=True` needs the folder of the run to go on with: give `out`")


class Run:
    """A folder with `config.yaml`, `model.safetensors`, `metrics.jsonl`, `state.pt` and a report.

    Naming a run neither creates nor checks anything on the disk.

    Args:
        path: the folder.
        recipe: that the flow was built with, so that the model can be loaded; a flow that a
            recipe has built knows it.
        schema: of the data that the flow was assembled for, if it was; the flow knows it, too.
        config: the content that training writes to `config.yaml`, if any.
        papers: further texts that training writes, by the names of their files.
        resume: go on from the state in the folder, or start if it has none yet. On the CPU the
            result is bit for bit that of a run without the break. Options may change except
            `seed`, `batch_size`, `precision` and `ema`; with more steps the rest follows the
            longer cosine.
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
        overwrite: bool = False,
    ) -> None:
        if resume and overwrite:
            raise InputError("`resume` and `overwrite`: choose one of them")
        self.path, self.recipe, self.schema, self.config = path_of(path), recipe, schema, config
        self.papers = dict(papers or {})
        self.resume, self.overwrite = resume, overwrite
        self.model_path = self.path / MODEL
        self.state_path = self.path / "state.pt"
        self.metrics_path = self.path / "metrics.jsonl"
        self.config_path = self.path / "config.yaml"

    def of(self, flow: Flow) -> "Run":
        """The run with what the flow was built from, where it does not say."""
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
        records = []
        for number, line in enumerate(self.metrics_path.read_text("utf-8").splitlines(), 1):
            try:
                records.append(json.loads(line))
            except json.JSONDecodeError as error:
                raise InputError(f"{self.metrics_path}, line {number}: not JSON") from error
        return records

    def write_metrics(self, records: Sequence[dict[str, Any]]) -> None:
        """Replaces `metrics.jsonl`, atomically."""
        lines = (json.dumps(record) + "\n" for record in records)
        files.write_text(self.metrics_path, "".join(lines))

    def started(self) -> bool:
        """Whether training has left weights or a state here."""
        return self.model_path.exists() or self.state_path.exists()

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
        if self.overwrite or not self.path.exists() or (self.resume and self.is_run()):
            return
        if self.started():
            way_on = "`resume=True` goes on with it, " if goes_on else ""
            raise InputError(
                f"{self.path} holds a run: {way_on}`overwrite=True` replaces it, another "
                f"`{name}` leaves it alone"
            )
        others = [entry.name for entry in self.path.iterdir() if entry.name != "config.yaml"]
        if others:
            raise InputError(
                f"{self.path} is a folder with other files ({sorted(others)[0]}): give another "
                f"`{name}`"
            )

    def check_resumable(self) -> None:
        """Refuses to resume a run in a folder that is not there, as after a slip of the pen.

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
        if self.resume and self.model_path.exists() and not self.state_path.exists():
            raise InputError(f"{self.path}: holds a model but no state.pt to resume from")
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
        for name in (MODEL, "state.pt", "metrics.jsonl", "config.yaml"):
            for left in self.path.glob(f".[0-9]*.{name}"):
                left.unlink(missing_ok=True)
        if self.overwrite:
            self._clear()
        if self.config is not None:
            write_config(self.path, self.config)
        for name, text in self.papers.items():
            files.write_text(self.path / name, text)

    def _clear(self) -> None:
        for name in LEFT_BEHIND:
            if (self.path / name).is_dir():
                shutil.rmtree(self.path / name)
            else:
                (self.path / name).unlink(missing_ok=True)


def read_config(path: Path) -> dict[str, Any]:
    """The names and values in a YAML file.

    Raises:
        InputError: there is no such file, or it is no YAML mapping.
    """
    import yaml

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read; is this a run?") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not YAML: {one_line(error)}") from error
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
