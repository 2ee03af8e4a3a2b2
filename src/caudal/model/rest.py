"""What follows training, evaluation and report, and the time that is kept for it."""

from dataclasses import dataclass
from typing import Any

from caudal.flow import Flow
from caudal.model.settings import Settings
from caudal.report import told_labels
from caudal.training.clock import Budget

_SHARE = 0.15  # share of the time that is left, for the evaluation
_JUDGING = 0.05  # share for the thresholds of alarms
_LEAST_FITTED = 256  # training items at least, to which a baseline is fitted
_BESIDE, _FEWEST = 0.2, 3  # share for models beside a target, and the least number of their fits
_COMPARED = 2000  # test rows, whose comparison with as many samples takes `scoreboard_seconds`


@dataclass
class Extent:
    """How much is done after training; each None stands for as much as is usual.

    Attributes:
        limit: how many test items are evaluated at most.
        samples: how many samples are compared with test items.
        judged: how many densities of validation items the thresholds of alarms take.
        fits: how many models are fitted beside a target.
        copies: how many clips are copied.
        recognised: for how many items their label is compared with the likeliest one.
        fitted: how many training items the baseline is fitted to at most.
    """

    limit: int | None = None
    samples: int | None = None
    judged: int | None = None
    fits: int | None = None
    copies: int | None = None
    recognised: int | None = None
    fitted: int | None = None


USUAL = Extent()


class Rest:
    """Plans the work after training, once it is known how fast this machine scores rows.

    Args:
        settings: of the run.
        dataset: the one whose test part is evaluated.
        evaluates: whether anything follows at all: a model in memory is only trained.
        flow: the one that is trained, whose copies are timed; no copies are planned if None.

    Attributes:
        extent: the plan, once `seconds` was asked for.
    """

    def __init__(
        self, settings: Settings, dataset: Any, evaluates: bool, flow: Flow | None = None
    ) -> None:
        self.extent = Extent()
        self.settings, self.evaluates, self.flow = settings, evaluates, flow
        self.dataset, self.test, self.valid = dataset, dataset.test, dataset.valid

    def budget(self, begun: float) -> Budget | None:
        """The time of the whole job, which began at `begun`; None if it is not limited."""
        minutes = self.settings.training.minutes
        if minutes is None:
            return None
        return Budget(begun + 60 * minutes, self.seconds if self.evaluates else None)

    def seconds(self, row: float, left: float) -> float:
        """How long evaluation and report will take.

        Args:
            row: seconds to score a row.
            left: seconds that are left.
        """
        left = max(left, 0.0)  # it may be over already
        kind, items = self.settings.kind, self.test.n_items
        item = row * self.test.n_rows / items * kind.passes
        redrawn = min(kind.redrawn, 4 * items) / kind.passes
        affordable = max(_SHARE * left / item - redrawn, kind.least_evaluated)
        if affordable < items:
            self.extent.limit = int(affordable)
        evaluation = item * (min(items, affordable) + redrawn)
        report = min(kind.report_seconds, _SHARE * left) if self.settings.report else 0.0
        beside = self._judging(row, left) + self._beside(left)
        single = item / kind.passes
        beside += self._fitting(left) + self._copying(left) + self._recognising(single, left)
        return evaluation + report + self._comparing(left) + beside

    def _fitting(self, left: float) -> float:
        """How long the fit of the baseline will take; of fewer items where that is too long."""
        train, schema = self.dataset.train, self.dataset.schema
        (once, each), count = self.settings.kind.baseline.seconds(train, schema), train.n_items
        if once + each * count > _SHARE * left:
            affordable = max(int((_SHARE * left - once) / max(each, 1e-9)), _LEAST_FITTED)
            count = self.extent.fitted = min(count, affordable)
        return once + each * count

    def _copying(self, left: float) -> float:
        """How long copies of test items will take; where that is too long there are fewer."""
        if self.flow is None:
            return 0.0
        each, count = self.settings.kind.copying(self.flow, self.test, self.dataset.schema)
        if count and each * count > _SHARE * left:
            count = self.extent.copies = max(1, int(_SHARE * left / each))
        return each * count

    def _recognising(self, item: float, left: float) -> float:
        """How long it takes to score items given each value of their labels; fewer if too long."""
        kind = self.settings.kind
        count = min(kind.classified, self.test.n_items)
        each = item * sum(told_labels(self.dataset.schema).values()) if count else 0.0
        if each * count > _SHARE * left:
            count = self.extent.recognised = int(_SHARE * left / each)
        return each * count

    def _beside(self, left: float) -> float:
        """How long models beside a target will take; where that is too long there are fewer."""
        target = self.settings.kind.target
        each, fits = (0.0, 0) if target is None else self._fits(target)
        if fits and each * fits > _BESIDE * left:
            fits = self.extent.fits = max(_FEWEST, int(_BESIDE * left / each))
        return each * fits

    def _fits(self, target: Any) -> tuple[float, int]:
        time: tuple[float, int] = target.seconds(self.dataset.train, self.dataset.schema)
        return time

    def _comparing(self, left: float) -> float:
        """How long samples beside test items will take; fewer are drawn where that is too long."""
        longest, items = self.settings.kind.scoreboard_seconds, self.test.n_items
        seconds = longest * min(1.0, items / _COMPARED)
        if longest and seconds > _SHARE * left:
            seconds = _SHARE * left
            self.extent.samples = int(_COMPARED * seconds / longest)
        return seconds

    def _judging(self, row: float, left: float) -> float:
        """How long the thresholds will take; fewer rows tell them where that is too long."""
        kind = self.settings.kind
        self.extent.judged = min(kind.judged, int(_JUDGING * left / row))
        return row * min(self.extent.judged, kind.draws * self.valid.n_items)
