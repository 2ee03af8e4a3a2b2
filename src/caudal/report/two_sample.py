"""Whether two sets of rows can be told apart: by a classifier, and column by column."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from caudal.report.distances import kolmogorov_smirnov

ROUNDS = 100
_LARGEST = 1e300  # trees take no infinity


@dataclass(frozen=True)
class TwoSample:
    """How well a classifier tells a student's rows from a teacher's, of rows it has not seen.

    Attributes:
        auc: the chance that it gives a row of the student the higher score of a pair; 0.5 is a
            coin's, 1 means that they do not overlap.
        auc_se: its standard error.
        accuracy: share of the rows that it puts right.
        accuracy_se: its standard error.
        rows: how many rows of each it was tried on.
    """

    auc: float
    auc_se: float
    accuracy: float
    accuracy_se: float
    rows: int


def two_sample(
    teacher: np.ndarray, student: np.ndarray, context: np.ndarray | None = None, seed: int = 0
) -> TwoSample:
    """The classifier two-sample test: trees boosted on the first half, tried on the second.

    Boosted trees see what single columns do not: which values go together. A test that finds
    nothing says that these trees cannot tell so many rows apart, not that the densities are equal.
    References: Lopez-Paz, Oquab, Revisiting classifier two-sample tests, 2017, arXiv:1610.06545;
    DeLong, DeLong, Clarke-Pearson, 1988, for the error of the AUC.

    Args:
        teacher: rows (N, D).
        student: as many.
        context: (N, C) of what row i of both is given, for the classifier to see too.
        seed: of the classifier.
    """
    from threadpoolctl import threadpool_limits

    half = len(teacher) // 2
    if half < 2 or teacher.shape != student.shape:
        raise ValueError(f"expected as many rows of both, got {teacher.shape}, {student.shape}")
    beside = np.empty((len(teacher), 0)) if context is None else context
    pair = [
        np.concatenate([rows, beside], 1).clip(-_LARGEST, _LARGEST) for rows in (teacher, student)
    ]
    with threadpool_limits(1):  # so few rows gain nothing from more, and lose much on busy cores
        classifier = _fitted([rows[:half] for rows in pair], seed)
        no, yes = [classifier.predict_proba(rows[half:])[:, 1] for rows in pair]
    auc, auc_se = area(no, yes)
    accuracy = 0.5 * float((no < 0.5).mean() + (yes > 0.5).mean())
    accuracy += 0.25 * float((no == 0.5).mean() + (yes == 0.5).mean())  # a coin for a tie
    accuracy_se = (accuracy * (1 - accuracy) / (2 * len(yes))) ** 0.5
    return TwoSample(auc, auc_se, accuracy, accuracy_se, len(yes))


def area(no: np.ndarray, yes: np.ndarray) -> tuple[float, float]:
    """AUC = P(no < yes) + P(no = yes) / 2 of scores (N,) and (M,), and its standard error.

    DeLong's: the variances of each score's own share of the pairs, var / N + var / M.
    """
    above, below = _shares(no, yes), _shares(yes, no)
    variance = above.var(ddof=1) / len(yes) + below.var(ddof=1) / len(no)
    return float(above.mean()), float(np.sqrt(variance))


def column_distances(
    teacher: np.ndarray, student: np.ndarray, names: Sequence[str]
) -> tuple[tuple[str, float], ...]:
    """Kolmogorov-Smirnov distance of each column of rows (N, D), the worst first, by its name.

    `distances.by_chance` says what equal densities would reach.
    """
    pairs = zip(names, teacher.T, student.T, strict=True)
    found = [(name, kolmogorov_smirnov(a, b)) for name, a, b in pairs]
    return tuple(sorted(found, key=lambda pair: -pair[1]))


def _shares(others: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """For each of `scores`, the share of `others` below it; equal ones count half."""
    others = np.sort(others)
    left, right = (np.searchsorted(others, scores, side) for side in ("left", "right"))
    return (left + right) / (2 * len(others))


def _fitted(pair: Sequence[np.ndarray], seed: int) -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier

    labels = np.repeat([0, 1], [len(rows) for rows in pair])
    # Where nothing tells the rows apart, it stops after some rounds.
    stops = len(labels) >= 200
    classifier = HistGradientBoostingClassifier(
        max_iter=ROUNDS, early_stopping=stops, random_state=seed
    )
    return classifier.fit(np.concatenate(pair), labels)
