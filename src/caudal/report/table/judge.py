"""Measures of samples of a table, those that users of synthetic data compare, by one judge."""

import time
from collections.abc import Iterator, Sequence

import numpy as np

from caudal.data import Batch, Column, Dataset, Source
from caudal.data.source import as_often
from caudal.flow import Flow
from caudal.report.table.closest import closer, copies, to_closest
from caudal.report.table.comparison import beside
from caudal.report.table.measures import distance, shape, trend
from caudal.report.table.prediction import Prediction
from caudal.report.table.scoreboard import COPULA, FACTORISED, FLOW, REAL, Line, Scoreboard, Told
from caudal.report.two_sample import by_chance, two_sample

ROWS, LEAST = 2000, 50
"""How many test rows samples are compared with at most, and at least."""
NUMBERS = 64_000  # in these rows, at most
RECORDS = 100_000  # training rows among which copies are looked for
ASKED = 64  # columns that are asked by which the classifier tells rows apart
_NOTICED = 0.01  # least loss of AUC by one column that is told
_FURTHER = 1.5  # times, than real rows: of many categories some differ by chance


class Judge:
    """Measures sets of rows by the same test rows.

    Args:
        columns: of the rows, those that are modelled first.
        modelled: how many are.
        training: rows (N, D) float64, as the schema encodes them.
        test: as many rows.
        records: all training rows, in parts, among which copies are looked for.
        seed: of the classifier.
    """

    def __init__(
        self,
        columns: Sequence[Column],
        modelled: int,
        training: np.ndarray,
        test: np.ndarray,
        records: Sequence[np.ndarray],
        seed: int = 0,
    ) -> None:
        self.columns, self.modelled, self.seed = columns, modelled, seed
        self.training, self.test, self.records = training, test, records
        self.prediction = Prediction.of(columns, training, test, modelled)
        self.told: tuple[Told, ...] = ()

    @property
    def targets(self) -> tuple[str, ...]:
        """The names of the columns that are predicted."""
        return tuple(self.columns[i].name for i in self.prediction.targets)

    def line(self, rows: np.ndarray, ask: bool = False) -> Line:
        """Samples (N, D) beside the test rows; with `ask`, `told` says by what they differ."""
        to_training, to_test = (
            to_closest(self.columns, rows, records, self.training)
            for records in (self.training, self.test)
        )
        share = closer(to_training, to_test)
        if self.modelled < len(self.columns):  # they have the context of test rows
            return self._line(rows, to_training, None, None, ask)
        return self._line(rows, to_training, share, copies(rows, self.records), ask)

    def real(self) -> Line:
        """The training rows beside the test rows; distances and copies are of the test rows."""
        to_training = to_closest(self.columns, self.test, self.training, self.training)
        return self._line(self.training, to_training, None, copies(self.test, self.records))

    def _line(
        self,
        rows: np.ndarray,
        to_training: np.ndarray,
        nearer: float | None,
        copied: float | None,
        ask: bool = False,
    ) -> Line:
        columns, own = self.columns, self.columns[: self.modelled]
        asked = range(0, self.modelled, -(-self.modelled // ASKED)) if ask else ()
        test = two_sample(self.test, rows, seed=self.seed, ask=asked)
        if ask:
            self.told = self._told(rows, list(zip(asked, test.by, strict=True)))
        return Line(
            shape=shape(own, self.test, rows),
            trend=trend(columns, self.test, rows, self.modelled),
            c2st=min(1.0, 2 * (1 - test.auc)),
            auc=test.auc,
            auc_se=test.auc_se,
            tstr=self.prediction.skill(rows),
            dcr=float(np.median(to_training)),
            nearer=nearer,
            copies=copied,
        )

    def _told(self, rows: np.ndarray, falls: Sequence[tuple[int, float]]) -> tuple[Told, ...]:
        """The columns whose shuffling costs the trees most, in that order."""
        noticed = sorted(((fall, i) for i, fall in falls if fall >= _NOTICED), reverse=True)
        return tuple(
            Told(self.columns[i].name, fall, self._differs(i, rows)) for fall, i in noticed
        )

    def _differs(self, i: int, rows: np.ndarray) -> bool:
        """Whether a column is further from the test rows than chance, and real rows, have it."""
        apart, real = (
            distance(self.columns[i], self.test[:, i], side[:, i])
            for side in (rows, self.training)
        )
        gaps = abs(apart.missing[0] - apart.missing[1])
        return max(apart.value, gaps) > max(by_chance(len(rows)), _FURTHER * real.value)


def factorised(rows: np.ndarray, modelled: int, seed: int = 0) -> np.ndarray:
    """The same rows with each modelled column shuffled by itself: its own shares, and no more."""
    rng, shuffled = np.random.default_rng(seed), rows.copy()
    for i in range(modelled):
        shuffled[:, i] = rng.permutation(shuffled[:, i])
    return shuffled


def score_samples(
    flow: Flow,
    dataset: Dataset,
    copula: Flow | None = None,
    rows: int | None = None,
    seed: int = 0,
) -> Scoreboard | None:
    """Draws samples beside test rows and measures them; None where there are too few rows.

    With context, each sample has the context of its test row. None too for a single column given
    others, whose predictions tell more.

    Args:
        flow: put into eval mode.
        dataset: the table that it was trained on.
        copula: of the same table, a second line.
        rows: how many test rows to take at most; 2,000 if None.
        seed: of the samples and of the classifier.
    """
    begun = time.perf_counter()
    schema, train, tested = dataset.schema, as_often(dataset.train), as_often(dataset.test)
    columns, modelled = (*schema.columns, *schema.context), len(schema.columns)
    most = ROWS if rows is None else rows
    n = min(most, NUMBERS // len(columns), tested.n_items, train.n_items)
    if n < LEAST or (schema.context and modelled == 1):
        return None
    compared = beside(flow, tested, schema, "test", n, seed)
    context, training = compared.context, _rows(train, n)
    test = _joined(compared.data, context)
    records = list(_parts(train, RECORDS))
    judge = Judge(columns, modelled, training, test, records, seed)
    lines = {FLOW: judge.line(_joined(compared.samples, context), ask=True), REAL: judge.real()}
    if copula is not None:
        drawn = beside(copula, tested, schema, "test", n, seed).samples
        lines[COPULA] = judge.line(_joined(drawn, context))
    lines[FACTORISED] = judge.line(factorised(training, modelled, seed))
    return Scoreboard(n, lines, judge.targets, judge.told, time.perf_counter() - begun)


def _rows(source: Source, n: int) -> np.ndarray:
    return np.concatenate(list(_parts(source, n)))


def _parts(source: Source, n: int) -> Iterator[np.ndarray]:
    """At most n rows with their contexts, (N, D + C) float64."""
    return (_numbers(batch) for batch in source.items(n))


def _numbers(batch: Batch) -> np.ndarray:
    context = None if batch.context is None else batch.context.double().cpu().numpy()
    return _joined(batch.x.double().cpu().numpy(), context)


def _joined(x: np.ndarray, context: np.ndarray | None) -> np.ndarray:
    return x if context is None else np.concatenate([x, context], 1)
