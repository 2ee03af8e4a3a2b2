"""Two-sample tests: whether two sets of rows can be told apart, and by which columns."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

ROUNDS = 100
_LARGEST = 1e300  # instead of infinity, which trees do not take


@dataclass(frozen=True)
class TwoSample:
    """How well a classifier tells a student's rows from a teacher's, on rows it has not seen.

    Attributes:
        auc: the probability that it gives the student's row of a pair the higher score; 0.5 is
            chance, 1 means that the two do not overlap.
        auc_se: its standard error.
        accuracy: share of the rows that it labels correctly.
        accuracy_se: its standard error.
        rows: how many rows of each it was tested on.
        by: for each column that was asked for, by how much the AUC falls if the column's values
            are shuffled among the tested rows: what the classifier knows by it.
    """

    auc: float
    auc_se: float
    accuracy: float
    accuracy_se: float
    rows: int
    by: tuple[float, ...] = ()


def two_sample(
    teacher: np.ndarray,
    student: np.ndarray,
    context: np.ndarray | None = None,
    seed: int = 0,
    ask: Sequence[int] = (),
) -> TwoSample:
    """The classifier two-sample test: trees boosted on the first half, tested on the second.

    Boosted trees see what single columns do not: which values go together. A test that finds
    nothing says that these trees cannot tell so many rows apart, not that the densities are equal.
    References: Lopez-Paz, Oquab, Revisiting classifier two-sample tests, 2017, arXiv:1610.06545;
    DeLong, DeLong, Clarke-Pearson, 1988, for the error of the AUC.

    Args:
        teacher: rows (N, D).
        student: as many.
        context: (N, C), where row i is the context of row i of both; the classifier sees it too.
        seed: of the classifier.
        ask: by which columns of the rows it tells them apart, as `by`.
    """
    from threadpoolctl import threadpool_limits

    half = len(teacher) // 2
    if half < 2 or teacher.shape != student.shape:
        raise ValueError(f"expected as many rows of both, got {teacher.shape}, {student.shape}")
    beside = np.empty((len(teacher), 0)) if context is None else context
    pair = [
        np.concatenate([rows, beside], 1).clip(-_LARGEST, _LARGEST) for rows in (teacher, student)
    ]
    with threadpool_limits(1):  # threads gain nothing on so few rows, and lose much on busy cores
        classifier = _fitted([rows[:half] for rows in pair], seed)
        tested = np.concatenate([rows[half:] for rows in pair])
        no, yes = _scores(classifier, tested)
        auc, auc_se = area(no, yes)
        rng = np.random.default_rng(seed)
        by = tuple(auc - _auc_without(classifier, tested, column, rng) for column in ask)
    accuracy = 0.5 * float((no < 0.5).mean() + (yes > 0.5).mean())
    accuracy += 0.25 * float((no == 0.5).mean() + (yes == 0.5).mean())  # ties count half
    accuracy_se = (accuracy * (1 - accuracy) / (2 * len(yes))) ** 0.5
    return TwoSample(auc, auc_se, accuracy, accuracy_se, len(yes), by)


def area(no: np.ndarray, yes: np.ndarray) -> tuple[float, float]:
    """AUC = P(no < yes) + P(no = yes) / 2 of scores (N,) and (M,), and its standard error.

    The error is DeLong's: var / N + var / M, of the share of pairs that each score wins.
    """
    above, below = _shares(no, yes), _shares(yes, no)
    variance = above.var(ddof=1) / len(yes) + below.var(ddof=1) / len(no)
    return float(above.mean()), float(np.sqrt(variance))


def auc(no: np.ndarray, yes: np.ndarray) -> float:
    """The area alone, of scores (N,) and (M,), one at least of each."""
    return float(_shares(no, yes).mean())


def _shares(others: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """For each of `scores`, the share of `others` below it; equal ones count half."""
    others = np.sort(others)
    left, right = (np.searchsorted(others, scores, side) for side in ("left", "right"))
    return (left + right) / (2 * len(others))


def _scores(classifier: Any, tested: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The probability of the second kind, of the first half of the rows and of the others."""
    scores = classifier.predict_proba(tested)[:, 1]
    return scores[: len(scores) // 2], scores[len(scores) // 2 :]


def _auc_without(
    classifier: Any, tested: np.ndarray, column: int, rng: np.random.Generator
) -> float:
    """The AUC where the classifier sees another row's value of a column."""
    shuffled = tested.copy()
    shuffled[:, column] = rng.permutation(shuffled[:, column])
    return auc(*_scores(classifier, shuffled))


def _fitted(pair: Sequence[np.ndarray], seed: int) -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier

    labels = np.repeat([0, 1], [len(rows) for rows in pair])
    # It stops after some rounds where nothing tells the rows apart.
    stops = len(labels) >= 200
    classifier = HistGradientBoostingClassifier(
        max_iter=ROUNDS, early_stopping=stops, random_state=seed
    )
    return classifier.fit(np.concatenate(pair), labels)


# --- column by column ----------------------------------------------------------------------------


def column_distances(
    teacher: np.ndarray, student: np.ndarray, names: Sequence[str]
) -> tuple[tuple[str, float], ...]:
    """Names and Kolmogorov-Smirnov distances of the columns of rows (N, D), the worst first.

    `by_chance` says which distance equal densities would reach.
    """
    pairs = zip(names, teacher.T, student.T, strict=True)
    distances = [(name, kolmogorov_smirnov(a, b)) for name, a, b in pairs]
    return tuple(sorted(distances, key=lambda pair: -pair[1]))


def by_chance(rows: int) -> float:
    """The KS distance that two samples of `rows` rows from one density pass 5 % of the time."""
    return 1.36 * math.sqrt(2 / rows)


def kolmogorov_smirnov(a: np.ndarray, b: np.ndarray) -> float:
    """The largest difference between the cumulative shares of a (N,) and b (M,)."""
    a, b = np.sort(a), np.sort(b)
    points = np.concatenate([a, b])
    below_a = np.searchsorted(a, points, side="right") / len(a)
    below_b = np.searchsorted(b, points, side="right") / len(b)
    return float(np.abs(below_a - below_b).max())
