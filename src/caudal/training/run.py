"""The run folder: what training leaves behind, and where each thing is."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from caudal import files
from caudal.errors import InputError
from caudal.training.checkpoint import MODEL

LEFT_BEHIND = (
    "config.yaml",
    "model.safetensors",
    "state.pt",
    "metrics.jsonl",
    "eval.json",
    "compare.json",
    "gaussian.safetensors",
    "report.html",
    "pictures",
)
"""What a run folder holds, and --overwrite replaces; anything else in it is left alone."""


class Run:
    """A folder with `config.yaml`, `model.safetensors`, `metrics.jsonl`, `state.pt` and a report.

    Naming it creates and checks nothing.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    @property
    def model_path(self) -> Path:
        """The best weights, loadable by themselves (`caudal.load`)."""
        return self.path / MODEL

    @property
    def state_path(self) -> Path:
        """All that resuming needs."""
        return self.path / "state.pt"

    @property
    def metrics_path(self) -> Path:
        """One JSON object a line: points of the curve, and validations, which have `valid`."""
        return self.path / "metrics.jsonl"

    @property
    def config_path(self) -> Path:
        """What the run was started with."""
        return self.path / "config.yaml"

    @property
    def config(self) -> dict[str, Any]:
        """The content of `config.yaml`.

        Raises:
            InputError: there is no such file, or it is no YAML mapping.
        """
        import yaml

        try:
            found = yaml.safe_load(self.config_path.read_text(encoding="utf-8"))
        except OSError as error:
            raise InputError(f"{self.config_path}: cannot be read; is this a run?") from error
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            reason = " ".join(str(error).split())
            raise InputError(f"{self.config_path}: not YAML: {reason}") from error
        if not isinstance(found, dict):
            raise InputError(f"{self.config_path}: must hold names and values, as caudal writes")
        return found

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

    def clear(self) -> None:
        """Removes what an earlier run left in the folder."""
        for name in LEFT_BEHIND:
            if (self.path / name).is_dir():
                shutil.rmtree(self.path / name)
            else:
                (self.path / name).unlink(missing_ok=True)

    def sweep(self) -> None:
        """Removes the temporary files of a process that was killed while writing."""
        for name in (MODEL, "state.pt", "metrics.jsonl", "config.yaml"):
            for left in self.path.glob(f".[0-9]*.{name}"):
                left.unlink(missing_ok=True)


def write_config(path: str | Path, config: dict[str, Any]) -> None:
    """Writes `config` as YAML, in its order, atomically. `path` is the file or the run folder."""
    import yaml

    path = Path(path)
    if path.suffix not in (".yaml", ".yml"):
        path = path / "config.yaml"
    files.write_text(path, yaml.safe_dump(config, sort_keys=False, allow_unicode=True))
