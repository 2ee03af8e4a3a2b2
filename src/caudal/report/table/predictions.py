"""How well the one column of a target is predicted, beside other models."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

import numpy as np

from caudal.data import Column, Rows
from caudal.report.distilled import ScreenTable
from caudal.report.numbers import number, plain, plus_minus

INTERVALS = (0.5, 0.8, 0.9, 0.95)
"""Probabilities of the central intervals whose coverage is shown."""
LEVELS = tuple((i + 0.5) / 50 for i in range(50))
"""Levels of the quantiles over which losses are averaged: the middles of fifty equal shares."""
BINS = 15
"""Bins of the confidence, for the calibration of categories."""


class Curve(NamedTuple):
    """Calibration: what was predicted, and what came of it, both (L,)."""

    predicted: np.ndarray
    observed: np.ndarray


@dataclass(frozen=True)
class Judged:
    """What the predictions of one model come to.

    Attributes:
        name: of the model.
        note: what it is, in words.
        measures: by name.
        losses: of each row, (N,): the CRPS, or the log-loss.
        gain: by how much the flow's loss is less; None for the flow itself.
        gain_two_se: two standard errors of it, from the rows' own differences.
        curve: its calibration.
        shown: what pictures need: quantiles (N, 3) of 5, 50 and 95 %, or probabilities (N, K).
    """

    name: str
    note: str
    measures: dict[str, float]
    losses: np.ndarray = field(repr=False)
    gain: float | None
    gain_two_se: float | None
    curve: Curve = field(repr=False)
    shown: np.ndarray = field(repr=False)


@dataclass(frozen=True)
class Predictions(ABC):
    """One column, as the flow and the models beside it predict it.

    Attributes:
        column: the one that is predicted.
        judged: the flow first.
        truth: the values (N,), as the schema encodes them.
        rows: those that were predicted.
    """

    column: Column
    judged: tuple[Judged, ...]
    truth: np.ndarray = field(repr=False)
    rows: Rows = field(repr=False)

    loss: ClassVar[str]
    shown: ClassVar[tuple[tuple[str, str], ...]]

    def to_dict(self) -> dict[str, Any]:
        """All measures, for JSON."""
        models = {
            j.name: {
                **{name: plain(value) for name, value in j.measures.items()},
                **({} if j.gain is None else {"loss_above_flow": plain(j.gain)}),
                **({} if j.gain_two_se is None else {"two_se": plain(j.gain_two_se)}),
                "what": j.note,
            }
            for j in self.judged
        }
        return {"column": self.column.name, "rows": len(self.truth), "models": models}

    def table(self) -> ScreenTable:
        """The models beside each other."""
        title = f"predictions of '{self.column.name}', {len(self.truth):,} rows"
        head = ["", *(words for _, words in self.shown)]
        rows = [[j.name, *(self._cell(j, name) for name, _ in self.shown)] for j in self.judged]
        return ScreenTable(title, head, rows, " " + "n" * len(self.shown))

    def sentences(self) -> Iterator[str]:
        """What the numbers are, and what to think of them."""
        yield self.verdict
        yield self.meaning
        notes = (f"{j.name[0].upper()}{j.name[1:]}: {j.note}." for j in self.judged[1:])
        yield " ".join(notes)

    @property
    def verdict(self) -> str:
        """Beside which models the flow is ahead, level or behind, by the loss."""
        places: dict[str, list[str]] = {"ahead of": [], "level with": [], "behind": []}
        for j in self.judged[1:]:
            gain, error = j.gain or 0.0, j.gain_two_se or 0.0
            place = "level with" if abs(gain) <= error else "ahead of" if gain > 0 else "behind"
            by = f" by {plus_minus(abs(gain), error, self._digits)}"
            places[place].append(j.name + ("" if place == "level with" else by))
        parts = [f"{place} {', '.join(names)}" for place, names in places.items() if names]
        start = f"By the {self.loss}, the flow"
        if not parts:
            return f"{start} stands alone: others are fitted beside the run's own rows."
        return f"{start} is {'; '.join(reversed(parts))} (± 2 s.e.)."

    @property
    @abstractmethod
    def meaning(self) -> str:
        """What is measured, in a sentence or two."""

    @property
    def _digits(self) -> int:
        return 4

    def _cell(self, judged: Judged, name: str) -> str:
        value = judged.measures.get(name)
        return number(value, self._digits)


class NumberPredictions(Predictions):
    """Predictions of a column of numbers."""

    loss = "CRPS"
    shown = (
        ("crps", "CRPS"),
        ("rmse", "RMSE"),
        ("mae", "MAE"),
        ("coverage_90", "in 90 % interval"),
        ("width_90", "its width"),
        ("calibration", "calibration error"),
        ("log_prob", "nats a row"),
    )

    @property
    def meaning(self) -> str:
        error = self.judged[0].measures["calibration_se"]
        return (
            f"CRPS: twice the mean pinball loss of {len(LEVELS)} quantiles, which the flow has "
            f"exactly; RMSE of the mean, MAE of the median. Calibration error: how far the share "
            f"of values below a quantile is from its level, at most (s.e. {error:.3f})."
        )

    @property
    def _digits(self) -> int:
        """So that errors have four significant digits."""
        largest = max(self.judged[0].measures["rmse"], 1e-12)
        return int(np.clip(3 - np.floor(np.log10(largest)), 0, 8))

    def _cell(self, judged: Judged, name: str) -> str:
        value = judged.measures.get(name)
        if name.startswith("coverage"):
            return f"{value:.1%}"
        return number(value, 3 if name in ("calibration", "log_prob") else self._digits)


class CategoryPredictions(Predictions):
    """Predictions of a column of categories."""

    loss = "log-loss"
    shown = (
        ("log_loss", "log-loss"),
        ("accuracy", "accuracy"),
        ("brier", "Brier"),
        ("calibration", "calibration error"),
    )

    @property
    def meaning(self) -> str:
        return (
            "Log-loss in nats of the class there is, and Brier's score; the flow's probabilities "
            "are exact, its density integrated over the step of each class. Calibration error: "
            f"between confidence and accuracy, the mean over {BINS} bins of confidence."
        )
