"""What scores are: exact, bounds or estimates; which columns they take, and what they come to."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from caudal.flow import Flow
from caudal.report.estimates import off_by, short
from caudal.report.evaluate import plain

COLUMN, ERROR = "log_prob", "log_prob_se"


def columns_of(flow: Flow) -> list[str]:
    """The columns that scores are written to: of estimates also one of standard errors."""
    return [COLUMN, ERROR] if flow.estimated else [COLUMN]


def error_words(flow: Flow, error: float | None, one: str = "row") -> str:
    """How uncertain scores are that are estimates, from their mean error; empty of others."""
    if not flow.estimated or error is None:
        return ""
    said = f"mean standard error of one {one} {short(error)} nats, in column {ERROR}"
    if flow.kind.startswith("biased"):
        of = "nats a row" if one == "row" else "nats an image"
        said += f"; beside it the estimate is {off_by(flow.bias_bound(), of)}"
    return said


def kind_of(flow: Flow, error: float | None) -> dict[str, Any]:
    """What scores are, for JSON: of estimates also their mean standard error and their bias."""
    found: dict[str, Any] = {"kind": flow.kind}
    if flow.estimated:
        found[ERROR] = error
    if flow.kind.startswith("biased"):
        found["bias_bound"] = plain(flow.bias_bound())
    return found


@dataclass
class Tally:
    """How many rows there were, what became of them, and the least likely row, counted from 1."""

    rows: int = 0
    scored: int = 0
    outside: int = 0
    unscored: int = 0
    total: float = 0.0
    total_error: float = 0.0
    lowest: float = math.inf
    lowest_row: int = 0

    def add(self, log_prob: np.ndarray, error: np.ndarray) -> None:
        """Counts rows and their standard errors; NaN is a row without a score."""
        finite = np.isfinite(log_prob)
        worst = int(np.where(finite, log_prob, np.inf).argmin())
        if log_prob[worst] < self.lowest and finite[worst]:
            self.lowest, self.lowest_row = float(log_prob[worst]), self.rows + worst + 1
        self.rows += len(log_prob)
        self.scored += int(finite.sum())
        self.outside += int(np.isneginf(log_prob).sum())
        self.unscored += int(np.isnan(log_prob).sum())
        self.total += float(log_prob[finite].sum())
        self.total_error += float(error[finite].sum())

    @property
    def error(self) -> float | None:
        """The mean standard error of the rows with a finite score, None if there are none."""
        return self.total_error / self.scored if self.scored else None

    def to_dict(self, out: str) -> dict[str, object]:
        """For JSON."""
        mean = self.total / self.scored if self.scored else None
        return {
            "out": out,
            "rows": self.rows,
            "rows_outside": self.outside,
            "rows_unscored": self.unscored,
            "log_prob_inside": mean,
            "lowest": self.lowest if self.scored else None,
            "lowest_row": self.lowest_row if self.scored else None,
            "unit": "nats",
        }
