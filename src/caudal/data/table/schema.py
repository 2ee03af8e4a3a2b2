"""What each column of a user's table is, and how its rows become numbers and rows again."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
import torch
from annotated_types import Ge, Le
from torch import Tensor

from caudal.data import dtypes
from caudal.data.schema import NATS, Column, Schema, Unit
from caudal.data.table.convert import Place, encode_table
from caudal.data.table.declare import refuse_outside
from caudal.data.table.decode import add_columns, decode_column, decode_columns
from caudal.data.table.dialect import Written
from caudal.data.table.figures import taken_apart
from caudal.data.table.follower import Follower, add_followers
from caudal.data.table.inequality import Inequality, in_turn
from caudal.data.table.passed import PassedOver
from caudal.data.table.values import MOST_DECIMALS
from caudal.errors import InputError, one_line
from caudal.fields import check_fields, check_value

_CANNOT = (pa.ArrowException, AssertionError, ArithmeticError, LookupError, TypeError, ValueError)
Marginals = Literal["fitted", "standardised"]
Numbers = Literal["placed", "standardised"]
Fillers = Literal["drawn", "normal"]
Decimals = Annotated[int, Ge(1), Le(MOST_DECIMALS)]


@dataclass(frozen=True)
class TableSchema(Schema):
    """The columns a flow models (`columns`) and those it is conditioned on (`context`).

    Tensors are in the user's units: categories are codes 0..K-1, missing numbers are NaN.
    """

    kind: ClassVar[str] = "table"
    one: ClassVar[str] = "row"
    many: ClassVar[str] = "rows"
    unit: ClassVar[Unit] = NATS

    columns: tuple[Column, ...]
    context: tuple[Column, ...] = ()
    marginals: Marginals = "fitted"
    """Whether columns come to the flow by their fitted distributions, or standardised alone."""
    passed_over: tuple[PassedOver, ...] = ()
    """The other columns that samples have."""
    followers: tuple[Follower, ...] = ()
    """Columns that follow from the modelled ones, each after those that it follows."""
    order: tuple[str, ...] = ()
    """All names as the user's table has them; if empty, columns, context, and the others."""
    written: Written = Written()
    """How samples are written as text."""
    numbers: Numbers = "placed"
    """Whether nets see numbers of the context with their place among quantiles, or standardised
    alone."""
    fillers: Fillers = "drawn"
    """Whether gaps are filled, where rows are scored, from the column's own distribution or a
    normal one."""
    inequalities: tuple[Inequality, ...] = ()
    """Which modelled columns are never below others, each after those that it is not below."""
    weight_format: str | None = None
    """How text writes the numbers of the column of weights; None where they are plain."""

    @property
    def what(self) -> str:
        return "rows of a table"

    @property
    def names(self) -> tuple[str, ...]:
        """The names a table must have to be encoded: columns, then context."""
        return tuple(column.name for column in self.columns + self.context)

    @property
    def lifted(self) -> tuple[Column, ...]:
        """The modelled columns as a flow sees them: some as what they are above others."""
        above = {rule.name: rule.column for rule in self.inequalities}
        return tuple(above.get(column.name, column) for column in self.columns)

    @property
    def arrow(self) -> pa.Schema:
        """Names and types of the table that `decode` gives."""
        following = (follower.column for follower in self.followers)
        columns: list[Column | PassedOver] = [*self.columns, *following, *self.context]
        columns += self.passed_over
        types = {column.name: dtypes.parse(column.dtype) for column in columns}
        return pa.schema([(name, types[name]) for name in self.order or types])

    @property
    def text_names(self) -> frozenset[str]:
        """The columns that hold text, even where a file's values look like numbers ("007")."""
        following = (follower.column for follower in self.followers)
        columns = (*self.columns, *self.context, *following)
        return frozenset(column.name for column in columns if column.holds_text)

    def texts(self, weights: str | None) -> frozenset[str]:
        """`text_names`, and the column of weights if a run has learned how it is written."""
        if weights is None or self.weight_format is None:
            return self.text_names
        return self.text_names | {weights}

    @property
    def in_plain_numbers(self) -> frozenset[str]:
        """The modelled columns of numbers without a format, whose text has the file's mark."""
        types = {c.name: dtypes.value_type(dtypes.parse(c.dtype)) for c in self.columns}
        return frozenset(name for name, dtype in types.items() if dtypes.is_number(dtype))

    @property
    def countable(self) -> int | None:
        """Elements of a row if each is one of finitely many numbers, else None."""
        bounded = all(c.kind == "integer" and None not in (c.low, c.high) for c in self.columns)
        return len(self.columns) if bounded else None

    def encode(
        self,
        table: Any,
        /,
        *,
        file: str = "table",
        first_row: int = 1,
        dtype: torch.dtype = torch.float32,
    ) -> tuple[Tensor, Tensor | None]:
        """Turns rows into x (N, D) and context (N, C), None where there is no context.

        Args:
            table: anything that `as_table` takes, such as a DataFrame; further columns are
                ignored.
            file: the name that errors give.
            first_row: the number that errors give to the first row.
            dtype: floating type of the result.

        Raises:
            InputError: a column is missing, a category is unknown, or a value is missing, infinite
                or not a number; with the row, the column and the value.
        """
        values = encode_table(self.columns + self.context, table, Place(file, first_row))
        return self.split(torch.from_numpy(values).to(dtype))

    def encode_context(
        self,
        table: Any,
        *,
        file: str = "context",
        first_row: int = 1,
        dtype: torch.dtype = torch.float32,
    ) -> Tensor:
        """Turns rows of context columns alone, which may be text, into (N, C).

        Raises:
            InputError: as `encode`, and for a number outside its column's support or steps: a
                conditional flow knows nothing about values that it can never have seen.
        """
        place = Place(file, first_row)
        values = encode_table(self.context, table, place)
        refuse_outside(self.context, values, place)
        return torch.from_numpy(values).to(dtype)

    def split(self, values: Tensor) -> tuple[Tensor, Tensor | None]:
        """Cuts values (N, D + C) into x (N, D) and context (N, C) or None."""
        n = len(self.columns)
        return values[:, :n].contiguous(), values[:, n:].contiguous() if self.context else None

    def decode(self, x: Tensor, context: Tensor | None = None, /, *, start: int = 0) -> pa.Table:
        """Turns x (N, D), and context (N, C) if there is one, into the user's columns and types.

        Columns that are passed over count these rows from number `start` on.

        Raises:
            NumericalError: a value is not finite where the column has no missing values.
        """
        table = add_followers(decode_columns(self.columns, x), self.followers, self.columns)
        table = add_columns(table, self.context, context)
        for column in self.passed_over:
            table = table.append_column(column.name, column.cells(len(x), start))
        there = table.column_names  # without the context, where none was given
        return table.select([name for name in self.order or there if name in there])

    def under_headers(self, table: pa.Table) -> pa.Table:
        """A table that `decode` gave, with the user's headers where these are all different."""
        headers = [self.written.headers.get(name, name) for name in table.column_names]
        return table.rename_columns(headers) if len(set(headers)) == len(headers) else table

    def to_dict(self) -> dict[str, Any]:
        described = super().to_dict()
        del described["kind"]  # model files of tables name no kind
        if not self.inequalities:
            del described["inequalities"]
        if self.weight_format is None:
            del described["weight_format"]
        if not self.has_gaps:
            del described["fillers"]
        return described

    @property
    def has_gaps(self) -> bool:
        """Whether a modelled number may be missing."""
        return any(column.missing for column in self.columns)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "TableSchema":
        # Older files mention neither marginals, nor numbers of the context, nor fillers of gaps.
        gaps = any(column.get("missing") for column in data.get("columns", ()))
        fillers = "normal" if gaps else "drawn"
        older = {"marginals": "standardised", "numbers": "standardised", "fillers": fillers}
        data = {**older, **data}
        for name, hint in (("marginals", Marginals), ("numbers", Numbers), ("fillers", Fillers)):
            check_value(name, data[name], hint)
        passed = tuple(PassedOver.from_dict(column) for column in data.pop("passed_over", ()))
        followers = tuple(map(Follower.from_dict, data.pop("followers", ())))
        rules = tuple(map(Inequality.from_dict, data.pop("inequalities", ())))
        order, written = tuple(data.pop("order", ())), Written(**data.pop("written", {}))
        check_fields(written)
        check_value("headers", tuple(dict(written.headers).values()), tuple[str, ...])
        check_value("decimals", tuple(dict(written.decimals).values()), tuple[Decimals, ...])
        beside = {"passed_over": passed, "order": order, "written": written}
        both = {"followers": followers, "inequalities": rules}
        schema = super().from_dict({**data, **beside, **both})
        following = (follower.column for follower in followers)
        for column in (*schema.columns, *schema.context, *following):
            _check_written(column)
        _check_rules(schema)
        if (form := schema.weight_format) is not None and taken_apart(form) is None:
            raise InputError(f"weight_format {form!r} is not a format of numbers, such as 0.0%")
        return schema


def _check_written(column: Column) -> None:
    """Refuses a column whose values have no place in its own type, categories or format.

    Raises:
        InputError: names the column.
    """
    try:
        decode_column(column, np.array([column.origin]))
    except InputError:
        raise
    except _CANNOT as error:
        raise InputError(
            f"column '{column.name}': its values cannot be written ({one_line(error, 100)})"
        ) from None


def _check_rules(schema: TableSchema) -> None:
    """Refuses rules of columns that are not there, or are not known yet.

    Raises:
        InputError: names the column that follows, or is above another, and the other one.
    """
    modelled = {column.name for column in schema.columns}
    known = set(modelled)
    for follower in schema.followers:
        _check_known(follower, follower.sources, known)
        known.add(follower.name)
    for rule in schema.inequalities:
        _check_known(rule, (rule.name, *rule.sources), modelled)
    in_turn(schema.inequalities)


def _check_known(
    rule: Follower | Inequality, names: Sequence[str], known: Collection[str]
) -> None:
    for name in names:
        if name not in known:
            raise InputError(f"column '{rule.name}' {rule.why}: there is no column '{name}'")
