"""What samples of a table are given: contexts as they are, modelled columns by conditioning."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import repeat
from typing import Any

import numpy as np
import torch
from torch import Tensor

from caudal.conditioning import Conditioning, conditional_sample
from caudal.data import TableSchema, gap_codes, open_to_gaps, read_tables
from caudal.data.table.decode import decode_column
from caudal.data.table.follower import Follower, sources_of
from caudal.errors import InputError
from caudal.modalities.contexts import CHUNK, Given, fixed_values, values_of
from caudal.modalities.table.account import Account
from caudal.modality import Request, Voice

FEW, STUCK = 3.0, 0.5  # effective candidates of a row; share of rows that never moved


@dataclass(frozen=True)
class Asked:
    """What a user asks of samples.

    Attributes:
        schema: of the run.
        own: values of modelled columns, the same in all samples, as the user has them.
        context: likewise, values of context columns.
        file: a table with a row of values for each sample, or None.
        in_file: the modelled columns of the file that are not fixed.
        has_context: whether the file has columns of context too.
    """

    schema: TableSchema
    own: Mapping[str, Any]
    context: Mapping[str, Any]
    file: Any = None
    in_file: tuple[str, ...] = ()
    has_context: bool = False

    @classmethod
    def of(cls, schema: TableSchema, given: Given, file: Any) -> "Asked":
        """What `given` and `context_file` ask for.

        Raises:
            InputError: there is no such column, or the file has none of the run's, or a number is
            given as missing.
        """
        every = (*schema.columns, *schema.context, *(f.column for f in schema.followers))
        values = of_sources(schema, values_of({c.name: c for c in every}, given))
        modelled, context = ({c.name for c in part} for part in (schema.columns, schema.context))
        own = {name: value for name, value in values.items() if name in modelled}
        for name, number in fixed_values(schema.columns, own).items():
            if math.isnan(number):  # which says that nothing is given
                raise InputError(
                    f"`given` {name}={own[name]}: this is a missing value among numbers, which "
                    f"rows cannot be drawn given; give a number, or draw all rows and choose"
                )
        if file is None and own.keys() == modelled and context:
            raise InputError(
                f"`given` {', '.join(own)}: nothing is left to draw; contexts are those of "
                f"training rows, whatever is given: train a flow without context"
            )
        fixed = {name: value for name, value in values.items() if name in context}
        if file is None:
            return cls(schema, own, fixed)
        names = next(iter(read_tables(file))).column_names
        for follower in schema.followers:
            if follower.name in names and not set(follower.sources) <= {*names, *own}:
                raise _follows(follower)
        if not (modelled | context) & set(names):
            raise InputError(f"{file}: no column of the run; it models {', '.join(schema.names)}")
        # A table with contexts, such as test data, asks for new values of the modelled columns.
        if context & set(names):
            return cls(schema, own, fixed, file, has_context=True)
        in_file = tuple(name for name in names if name in modelled - set(own))
        return cls(schema, own, fixed, file, in_file)

    @property
    def conditions(self) -> bool:
        """Whether modelled columns are given."""
        return bool(self.own or self.in_file)

    @property
    def words(self) -> str:
        """What is given of modelled columns, such as `age=60, city from people.csv`."""
        fixed = [f"{name}={value}" for name, value in self.own.items()]
        return ", ".join([*fixed, *(f"{name} of {self.file}" for name in self.in_file)])

    def rows(self) -> Iterator[Tensor]:
        """Values (rows, D) without end, NaN where nothing is given."""
        names = [column.name for column in self.schema.columns]
        fixed = torch.full((len(names),), torch.nan)
        for name, value in fixed_values(self.schema.columns, self.own).items():
            fixed[names.index(name)] = value
        if not self.in_file:
            return repeat(fixed.expand(CHUNK, -1))
        return self._from_file(fixed, [names.index(name) for name in self.in_file])

    def _from_file(self, fixed: Tensor, places: list[int]) -> Iterator[Tensor]:
        """The rows of the file, over and over; empty cells are not given."""
        schema = TableSchema((), open_to_gaps([self.schema.columns[i] for i in places]))
        gaps = gap_codes(schema.context)
        while True:
            first = 1
            for table in read_tables(self.file, schema=schema):
                values = schema.encode_context(table, file=str(self.file), first_row=first)
                first += table.num_rows
                rows = fixed.repeat(len(values), 1)
                rows[:, places] = values.masked_fill(values == gaps, torch.nan)
                yield rows


def of_sources(schema: TableSchema, values: Mapping[str, Any]) -> dict[str, Any]:
    """Values of columns, those of followers as values of what they follow.

    Raises:
        InputError: more than one value makes the follower's, or its source is given too.
    """
    given = dict(values)
    for follower in reversed(schema.followers):  # one may follow another
        if follower.name not in given:
            continue
        value = fixed_values([follower.column], {follower.name: given.pop(follower.name)})
        every = (*schema.columns, *(each.column for each in schema.followers))
        source, *others = sources_of(follower, every)
        made = follower.give_back(value[follower.name], [source, *others])
        if made is None or source.name in given:
            raise _follows(follower)
        given[source.name] = decode_column(source, np.array([made]))[0].as_py()
    return given


def _follows(follower: Follower) -> InputError:
    return InputError(
        f"`given` {follower.name}: the column {follower.why} in every row: give "
        f"{' and '.join(follower.sources)} in its place"
    )


class Conditioned(Account):
    """Draws rows given some of their columns, and keeps account of what that took.

    Args:
        model: the one whose flow draws.
        what: is given, in words.
    """

    key = "given"

    def __init__(self, model: Any, what: str) -> None:
        super().__init__()
        self.model, self.what = model, what

    def __call__(self, request: Request, generator: torch.Generator) -> Tensor:
        assert request.given is not None
        flow, like = self.model.flow, self.model.flow.base.like
        context = None if request.context is None else request.context.to(like)
        x = request.given.to(like)
        drawn, part = conditional_sample(flow, x, x.isnan(), context, generator=generator)
        if not part.possible.all():
            row = request.start + int((~part.possible).int().argmax()) + 1
            raise InputError(
                f"`given` {self.what}: the flow gives it the probability 0 (first in sample {row}"
                f"): give values that its training rows might have"
            )
        if part.stuck > STUCK:
            raise InputError(
                f"`given` {self.what}: too unlike the training rows for {self.model.name} to "
                f"draw from: give fewer columns, or likelier values"
            )
        self._parts.append(part)
        return drawn

    def tell(self, voice: Voice) -> None:
        tell_conditioning(self.total, f"conditioned on {self.what}", voice)

    def to_dict(self) -> dict[str, Any]:
        return {"columns": self.what, **super().to_dict()}


def tell_conditioning(account: Conditioning, done: str, voice: Voice) -> None:
    """Tells an account in a line, and notes what to beware of."""
    if account.exact:
        noise = (
            f", effective size {account.ess:.0%} of {account.candidates} draws of noise in steps"
        )
        voice.say(f"{done}: exact draws{noise if account.candidates > 1 else ''}")
        return
    voice.say(
        f"{done}: effective size {account.ess:.0%} of {account.candidates} candidates a row, "
        f"{account.acceptance:.0%} of {account.steps} moves accepted"
    )
    if account.ess * account.candidates < FEW:
        voice.note(
            "fewer than 3 candidates of a row count: rows may be off; give fewer columns, or "
            "likelier values, or train longer"
        )
