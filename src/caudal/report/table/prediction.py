"""What can be predicted from samples: train on synthetic rows, test on real ones (TSTR)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from caudal.data import Column
from caudal.report.two_sample import auc

TREES = 10
TARGETS = 6  # columns that are predicted, at most
TRIED = 16  # columns among which these are looked for
LEVELS = 20  # levels of a category that is predicted, at most
_LARGEST = float(np.finfo(np.float32).max)  # the largest number that trees take
LEAST = 0.1  # skill of real rows, below which there is nothing to predict


@dataclass(frozen=True)
class Prediction:
    """Columns that can be predicted from the others, and how well real rows teach to do it.

    A forest of 10 trees learns from one set of rows, and is tested on the test rows. Its skill is
    R squared for numbers, and 2 AUC - 1 for categories (of each against the others, weighted by
    their shares): 0 for a guess, which is also the least, and 1 if all is right.

    Attributes:
        columns: of the rows.
        test: rows (N, D) that are predicted.
        targets: the places of the predicted columns, the best one first.
    """

    columns: Sequence[Column]
    test: np.ndarray
    targets: tuple[int, ...]

    @classmethod
    def of(
        cls, columns: Sequence[Column], real: np.ndarray, test: np.ndarray, modelled: int
    ) -> "Prediction":
        """The columns that real rows predict best, as no option says which ones matter.

        At most 16 of the modelled columns are tried with a single tree, evenly spaced, and at
        most 6 are taken.

        Args:
            columns: of the rows.
            real: rows (N, D) to learn from.
            test: other real rows.
            modelled: how many columns may be predicted, from the first on.
        """
        spaced = range(0, modelled, -(-modelled // TRIED))
        tried = [i for i in spaced if len(columns[i].categories or ()) <= LEVELS]
        every = cls(columns, test, tuple(tried)).skills(real, 1) if len(columns) > 1 else ()
        best = sorted(zip(every, tried, strict=False), reverse=True)
        return cls(columns, test, tuple(i for skill, i in best[:TARGETS] if skill >= LEAST))

    def skill(self, rows: np.ndarray) -> float | None:
        """The mean skill over the targets of what learned from these rows; None without any."""
        return float(np.mean(self.skills(rows))) if self.targets else None

    def skills(self, rows: np.ndarray, trees: int = TREES) -> tuple[float, ...]:
        """The skill of each target."""
        from threadpoolctl import threadpool_limits

        with threadpool_limits(1):
            return tuple(self._skill(i, rows, trees) for i in self.targets)

    def _skill(self, target: int, rows: np.ndarray, trees: int) -> float:
        taught, tested = (side[~np.isnan(side[:, target])] for side in (rows, self.test))
        if len(tested) < 2 or len(np.unique(taught[:, target])) < 2:
            return 0.0
        (x, y), (new, truth) = (
            (np.delete(side, target, 1).clip(-_LARGEST, _LARGEST), side[:, target])
            for side in (taught, tested)
        )
        numbers = self.columns[target].categories is None
        forest = _forest(numbers, trees).fit(x, y)
        if numbers:
            return _r_squared(truth, forest.predict(new))
        return _separation(truth, forest.classes_, forest.predict_proba(new))


def _forest(numbers: bool, trees: int) -> Any:
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

    kind = RandomForestRegressor if numbers else RandomForestClassifier
    return kind(trees, min_samples_leaf=5, random_state=0)


def _r_squared(truth: np.ndarray, predicted: np.ndarray) -> float:
    variance = float(truth.var())
    return max(0.0, 1 - float(np.square(truth - predicted).mean()) / variance) if variance else 0.0


def _separation(truth: np.ndarray, classes: np.ndarray, shares: np.ndarray) -> float:
    """The mean of 2 AUC - 1 over the classes of the truth; what was never seen is a guess."""
    values, total = np.unique(truth), 0.0
    if len(values) < 2:
        return 0.0
    for place, value in enumerate(classes):
        yes = truth == value
        if yes.any():
            total += yes.mean() * (2 * auc(shares[~yes, place], shares[yes, place]) - 1)
    return max(0.0, total)
