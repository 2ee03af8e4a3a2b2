"""How low a log-density must be for an alarm, so that the rate of false ones is known."""

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from annotated_types import Ge, Gt, Le

from caudal import files
from caudal.data import Batch
from caudal.data.source import as_often
from caudal.errors import InputError
from caudal.fields import check_value
from caudal.model.densities import draws_of
from caudal.report import log_prob_items
from caudal.training.together import in_turns

if TYPE_CHECKING:
    from caudal.model.model import Model

FILE = "alarm.json"
"""The file of it in a run folder."""
USUAL = 0.01
_MOST = 0.1  # the largest rate, for which log-densities are kept
Rate = Annotated[float, Gt(0), Le(_MOST)]


@dataclass(frozen=True)
class Threshold:
    """A log-density below which a row is an alarm.

    Attributes:
        rate: of false alarms, as it was asked for.
        log_prob: the threshold, nats.
        two_se: two standard deviations of the true rate around `rate`, as the rows vary that the
            threshold was found with.
        rows: how many these were.
    """

    rate: float
    log_prob: float
    two_se: float
    rows: int


@dataclass(frozen=True)
class Alarm:
    """The lowest log-densities of validation rows, which say how low is unusual.

    A new row drawn as these n rows were is below the k-th lowest of them with probability k / (n +
    1), whatever the model is like: this is the rate of false alarms at that threshold. It is a
    mean over validation sets. The rate of the set at hand is a draw of Beta(k, n + 1 - k), whose
    standard deviation is about sqrt(rate (1 - rate) / n), as of a binomial share. The weights were
    selected on the validation rows, which may therefore score a little too well.
    References: Wilks, Determination of sample sizes for setting tolerance limits, 1941; conformal
    prediction (Vovk, Gammerman, Shafer, Algorithmic learning in a random world, 2005).

    Attributes:
        rows: how many rows were scored.
        draws: of the noise in each of their scores.
        lowest: a tenth of their log-densities, ascending, in nats.
    """

    rows: int
    draws: int
    lowest: tuple[float, ...]

    def at(self, rate: float) -> Threshold:
        """The threshold with a rate of false alarms of at most `rate`.

        Raises:
            InputError: the rate is out of its range, or so small that it takes more rows.
        """
        check_value("alarm", rate, Rate)
        n = self.rows
        k = math.floor(rate * (n + 1) + 1e-9)
        if k < 1:
            raise InputError(
                f"`alarm` {rate:g}: a rate so small takes {math.ceil(1 / rate) - 1:,} validation "
                f"rows, and {n:,} were scored: give a rate from {1 / (n + 1):.2g} on"
            )
        variance = k * (n + 1 - k) / ((n + 1) ** 2 * (n + 2))
        return Threshold(rate, self.lowest[k - 1], 2 * math.sqrt(variance), n)

    def usual(self) -> Threshold | None:
        """The threshold of the usual rate, if the rows tell it."""
        return self.at(USUAL) if USUAL * (self.rows + 1) >= 1 else None

    def write(self, folder: Path) -> None:
        """Leaves it in a run folder."""
        content = {
            **asdict(self),
            "lowest": [v if math.isfinite(v) else None for v in self.lowest],
        }
        files.write_text(folder / FILE, json.dumps(content) + "\n")


def threshold(model: "Model", rate: float | None = None) -> Threshold | None:
    """The log-density below which new rows like the training rows fall at that rate.

    It is a quantile of the log-densities of validation rows, which a run keeps in alarm.json;
    see `caudal.model.alarm.Alarm`. The rate is at most 0.1.

    Args:
        rate: of such false alarms; if None it is 0.01, and the result is None where that is not
            known.

    Raises:
        InputError: there are too few validation rows for the rate, or none are to be had.
    """
    if model._alarm is None:
        model._alarm = read(model.folder)
    if rate is None:
        return None if model._alarm is None else model._alarm.usual()
    if model._alarm is None:
        if not model.kind.judged:
            raise InputError(
                f"`alarm` is for rows of tables, and {model.name} models {model.schema.what}: "
                f"leave it out"
            )
        model._alarm = measure(model, model.kind.judged)
    return model._alarm.at(rate)


def read(folder: Path | None) -> Alarm | None:
    """What a run folder holds of it, None without.

    Raises:
        InputError: the file is damaged.
    """
    if folder is None or not (folder / FILE).exists():
        return None
    try:
        content: dict[str, Any] = json.loads((folder / FILE).read_text(encoding="utf-8"))
        lowest = tuple(-math.inf if v is None else float(v) for v in content.pop("lowest"))
        alarm = Alarm(lowest=lowest, **content)
        check_value("rows", alarm.rows, Annotated[int, Ge(1)])
        if len(lowest) < math.floor(_MOST * (alarm.rows + 1)):
            raise ValueError("fewer log-densities than are kept of so many rows")
        check_value("draws", alarm.draws, Annotated[int, Ge(1)])
        return alarm
    except (ArithmeticError, ValueError, TypeError, KeyError, AttributeError):
        path = folder / FILE
        raise InputError(f"{path}: damaged; remove it, and it is computed again") from None


def measure(model: "Model", evaluations: int) -> Alarm:
    """Scores validation rows, each by as many draws as `score` takes, with so many in all."""
    draws = draws_of(model)
    source = as_often(model.dataset_or("leave `alarm` out").valid)
    limit = min(source.n_items, max(1, evaluations // draws))

    def score(batch: Batch) -> np.ndarray:
        return log_prob_items(model.flow, batch, draws=draws)[0].cpu().numpy()

    batches = model.voice.track(source.items(limit), "validating", None)
    scores = np.sort(np.concatenate([part for _, part in in_turns(batches, score)]))
    kept = math.ceil(_MOST * (len(scores) + 1))
    return Alarm(len(scores), draws, tuple(map(float, scores[:kept])))
