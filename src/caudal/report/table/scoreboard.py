"""How good the samples of a table are, told in one table and in words."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from caudal.report.distilled import ScreenTable
from caudal.report.numbers import number

FLOW, REAL, COPULA, FACTORISED = "flow", "real rows", "Gaussian copula", "factorised"
NAMED = 3  # columns in the verdict, by which rows are told apart
_HEAD = ["", "shape", "trend", "C2ST", "AUC", "TSTR", "DCR", "nearer training", "copies"]


@dataclass(frozen=True)
class Line:
    """What one set of rows comes to, beside as many test rows.

    Attributes:
        shape: mean over columns of 1 - their distance; see `caudal.report.table.measures`.
        trend: mean similarity of pairs of columns; None for a single column.
        c2st: 1 if boosted trees cannot tell the rows from test rows, 0 if they always can:
            1 - (2 AUC - 1), at most 1.
        auc: of these trees; 0.5 is chance.
        auc_se: its standard error.
        tstr: mean skill of forests that learn from the rows and predict test rows; see
            `Prediction`; None where no column can be predicted.
        dcr: median distance to the closest of as many training rows; see `closest.to_closest`.
        nearer: share of the rows that are closer to a training row than to a test row; 0.5 is
            right. None for real rows, and for rows that have the context of test rows.
        copies: share of the rows that are equal to a training row; None for such rows, too.
    """

    shape: float
    trend: float | None
    c2st: float
    auc: float
    auc_se: float
    tstr: float | None
    dcr: float
    nearer: float | None
    copies: float | None

    def cells(self, name: str) -> list[str]:
        """The line of the table."""
        auc = f"{self.auc:.3f} ± {2 * self.auc_se:.3f}"
        shares = ["" if v is None else f"{v:.1%}" for v in (self.nearer, self.copies)]
        means = [number(value) for value in (self.shape, self.trend, self.c2st)]
        return [name, *means, auc, number(self.tstr), f"{self.dcr:.4f}", *shares]


class Told(NamedTuple):
    """A column by which trees tell samples from test rows.

    Attributes:
        column: its name.
        auc: by how much their AUC falls if they see the column of another row.
        by_itself: whether its own distribution differs beyond chance; else it is how the column
            goes with others.
    """

    column: str
    auc: float
    by_itself: bool


@dataclass(frozen=True)
class Scoreboard:
    """Samples of a flow beside test rows, with what bounds each measure from above and below.

    Attributes:
        rows: of each set, test rows too.
        lines: by name: "flow"; "real rows", training rows, but for distances and copies, which
            are those of the test rows; "Gaussian copula", where it is known; and "factorised",
            training rows with each column shuffled by itself.
        targets: the columns that are predicted.
        told: the columns by which trees tell the flow's samples from test rows, those that say
            most first.
        seconds: how long all of it took.
    """

    rows: int
    lines: dict[str, Line]
    targets: tuple[str, ...]
    told: tuple[Told, ...]
    seconds: float

    def table(self) -> ScreenTable:
        """All lines, for the screen and the page."""
        title = f"samples beside {self.rows:,} test rows, as many of each"
        rows = [line.cells(name) for name, line in self.lines.items()]
        return ScreenTable(title, _HEAD, rows, " nnnnnnnn")

    def sentences(self) -> list[str]:
        """The verdict, then what the columns of the table are."""
        return [*self.verdict(), self.legend]

    def verdict(self) -> list[str]:
        """Whether samples are told apart and by what, and whether rows were learned by heart."""
        flow, real = self.lines[FLOW], self.lines[REAL]
        auc = f"AUC {flow.auc:.3f} ± {2 * flow.auc_se:.3f}, 0.5 is chance"
        if flow.auc <= 0.5 + 2 * flow.auc_se:
            lines = [f"Boosted trees cannot tell the samples from test rows ({auc})."]
        else:
            lines = [f"Boosted trees tell the samples from test rows ({auc}){self._by()}."]
        chance = 3 * (0.25 / self.rows) ** 0.5
        if flow.nearer is not None and flow.nearer > 0.5 + chance:
            lines.append(
                f"{flow.nearer:.1%} of the samples are nearer to a training row than to a test "
                f"row: the flow has learned rows by heart."
            )
        if flow.copies is not None and flow.copies > (real.copies or 0.0) + chance:
            lines.append(
                f"{flow.copies:.1%} of the samples are copies of training rows, and "
                f"{real.copies:.1%} of the test rows."
            )
        return lines

    def _by(self) -> str:
        """The columns that say most, in words."""
        named = self.told[:NAMED]
        alone = _listed([each.column for each in named if each.by_itself])
        others = [each.column for each in named if not each.by_itself]
        depend = "depends" if len(others) == 1 else "depend"
        joint = f"how {_listed(others)} {depend} on the other columns" if others else ""
        if not named:
            return ", by many columns together"
        return ", most by " + ", and by ".join(filter(None, [alone, joint]))

    @property
    def legend(self) -> str:
        """What the columns of the table are."""
        predicted = ", ".join(self.targets)
        tstr = f"TSTR: skill of forests taught by the rows, at {predicted}. " if predicted else ""
        is_measured = self.lines[FLOW].nearer is not None
        nearer = "Nearer training: 50% is right. " if is_measured else ""
        return (
            f"Shape and trend: single columns and pairs are as in the test rows; C2ST: trees "
            f"cannot tell the two apart. 1 is best. {tstr}DCR: median distance to the closest "
            f"training row. {nearer}Real rows are training rows, and for "
            f"distances and copies the test rows. Took {self.seconds:.0f} s."
        )

    def to_dict(self) -> dict[str, Any]:
        """For eval.json."""
        lines = {name.replace(" ", "_").lower(): line for name, line in self.lines.items()}
        return {
            "rows": self.rows,
            "seconds": self.seconds,
            **{name: asdict(line) for name, line in lines.items()},
            "targets": list(self.targets),
            "told_by": [each._asdict() for each in self.told],
            "verdict": self.verdict(),
        }


def _listed(names: Sequence[str]) -> str:
    """Names in a sentence: 'a', 'b' and 'c'."""
    quoted = [f"'{name}'" for name in names]
    return " and ".join(filter(None, [", ".join(quoted[:-1]), *quoted[-1:]]))
