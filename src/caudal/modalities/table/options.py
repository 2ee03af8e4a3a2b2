"""The options of tables: which rows and columns, and what samples are conditioned on."""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from annotated_types import Ge

from caudal.data.table.dialect import Dialect
from caudal.errors import InputError
from caudal.fields import check_fields


@dataclass(frozen=True)
class _Rows:
    """Which rows and columns to learn."""

    data: str
    """A built-in name (digits, moons, rings, ...), or a file: .csv, .tsv and other text, .xlsx,
    .xls, .ods, .jsonl, .json, .parquet, .feather, .npy or .npz; text may be compressed. Or many
    Parquet files: a folder, a pattern such as 'data/*.parquet', or a URL such as
    's3://bucket/*.parquet'."""
    columns: tuple[str, ...] = ()
    """Columns to model, in this order; if not given, all except the context, constants,
    identifiers and free text."""
    target: str | None = None
    """The column to predict: its distribution given all other columns is learned, as by
    --columns TARGET --context ALL OTHERS."""
    context: tuple[str, ...] = ()
    """Columns to condition on."""
    weights: str | None = None
    """The column that says how much each row counts, as for surveys, and is not modelled."""
    exclude: tuple[str, ...] = ()
    """Columns to leave out, from samples too."""
    types: tuple[str, ...] = ()
    """What columns are, where the guess is wrong: age=integer[0,120] ratio=interval[0,1]
    grade=real:0.1 city=categorical price=positive amount=positive@0 day=datetime:%d/%m/%Y
    hour=circular[0,24] lat=latitude lon=circular[-180,180]."""
    types_from: str | None = None
    """A file that says what columns are: the columns.yaml of a run, as it is or edited."""
    missing: Literal["auto", "refuse", "drop", "model"] = "auto"
    """What to do about missing values: refuse them, drop their rows, or model them; auto drops
    rows where they are at most one in fifty, and models the other gaps."""
    strict: bool = False
    """Refuse tables that need decisions: gaps, constants, identifiers, words among numbers."""
    valid: str | None = None
    """A table of validation rows, instead of a share of the data."""
    test: str | None = None
    """A table of test rows, instead of a share of the data."""
    split: tuple[float, float, float] = (0.8, 0.1, 0.1)
    """Shares of training, validation and test rows."""
    split_seed: int = 0
    """Seed of the split, apart from that of training: runs of several seeds share one split."""

    def __post_init__(self) -> None:
        check_fields(self, skip=("data", "valid", "test", "types_from"))


@dataclass(frozen=True)
class TableOptions(Dialect, _Rows):
    """Which rows and columns to learn, and how text files write them."""

    def __post_init__(self) -> None:
        Dialect.__post_init__(self)
        _Rows.__post_init__(self)


@dataclass(frozen=True)
class TableReading(Dialect):
    """How other tables are read: as the table of the run was, unless told otherwise."""

    missing: Literal["refuse", "drop"] | None = None
    """What to do about missing values where the run has learned none: refuse them, or leave rows
    with them without a score; if not given, as the run did."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_fields(self)


@dataclass(frozen=True)
class TableDrawing:
    """What the samples of a table are conditioned on, and whether they are corrected."""

    context_file: str | None = None
    """A table of contexts, or of values to condition on, one row for each sample, over again if
    there are fewer."""
    given: tuple[str, ...] = ()
    """Values that all rows have, such as digit=3; sex= for a missing category. They may be of
    context columns or of modelled ones: the others are drawn given them."""
    exact: str | None = None
    """Run of a teacher with the same columns: the rows are corrected to be the teacher's own."""
    exact_steps: Annotated[int, Ge(1)] | None = None
    """Corrections of each row, 20 if not given; each costs a draw, and a density of the
    teacher."""
    escape_formulas: bool = False
    """In .csv and .tsv, write texts that a spreadsheet would run as a formula, such as =1+1,
    behind an apostrophe."""
    # Tables and models from Python.
    _objects: ClassVar[tuple[str, ...]] = ("context_file", "given", "exact")

    def __post_init__(self) -> None:
        check_fields(self, skip=self._objects)
        if self.exact is None and self.exact_steps is not None:
            raise InputError(
                f"`exact_steps` {self.exact_steps}: is for `exact`, which names the teacher: give "
                f"both, or neither"
            )
