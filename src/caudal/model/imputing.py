"""Missing cells of a table, filled by draws given what is there."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import torch

from caudal.conditioning import Conditioning, conditional_sample
from caudal.data import Batch, Piece, TableWriter, like_data
from caudal.fields import check_value
from caudal.modalities.table.given import tell_conditioning
from caudal.modality import Voice
from caudal.report.items import noise, place
from caudal.report.numbers import count
from caudal.training.options import Count
from caudal.training.seeds import check_seed
from caudal.training.threads import uncrowded

if TYPE_CHECKING:
    from caudal.model.model import Model

COLUMN = "draw"


@dataclass
class Imputed:
    """What filling the gaps of a table came to.

    Attributes:
        draws: how often the table is there.
        rows: how many rows it has.
        rows_with_gaps: how many of them had gaps.
        cells: how many gaps were filled.
        impossible: how many rows keep their gaps, as the density of what is there is 0.
        without: how many rows stay as they are, as they lack a value of the context.
        seed: of the draws.
        accounts: how well the draws went, part by part.
    """

    draws: int
    seed: int
    rows: int = 0
    rows_with_gaps: int = 0
    cells: int = 0
    impossible: int = 0
    without: int = 0
    accounts: list[Conditioning] = field(default_factory=list)

    @property
    def account(self) -> Conditioning | None:
        """How well the draws went; None where there were none."""
        return Conditioning.join(self.accounts) if self.accounts else None

    def tell(self, voice: Voice) -> None:
        """Tells how well the draws went, and what to beware of."""
        if (account := self.account) is not None:
            tell_conditioning(account, "given what is there", voice)
        if self.impossible:
            n = self.impossible
            keep = "1 row keeps its" if n == 1 else f"{n:,} rows keep their"
            voice.note(f"{keep} gaps: the flow gives what is there the probability 0")
        if self.without:
            rows = count(self.without, "row stays as it is", "rows stay as they are")
            voice.note(f"{rows}, with missing values of the context: the run has learned none")

    def to_dict(self, out: str) -> dict[str, Any]:
        """For JSON."""
        counts = ("rows", "rows_with_gaps", "cells", "impossible", "draws", "seed")
        account = self.account
        return {
            "out": out,
            **{name: getattr(self, name) for name in counts},
            "rows_unfilled": self.without,
            "given": None if account is None else account.to_dict(),
        }


@uncrowded()
def impute(model: "Model", data: Any, *, draws: int = 1, seed: int = 0, **reading: Any) -> Any:
    """`data` with their missing values drawn given what is there, in their own form.

    Each gap of a modelled column is drawn from p(what is missing | what is there) of its row,
    as if it were missing by chance; all other cells stay as they are. With several draws the
    rows come as often, one draw after the other, and a column `draw` numbers these from 1.

    Args:
        data: a path, a DataFrame or an array with the columns of the run.
        draws: how often each gap is drawn: what differs between draws is not known.
        seed: of the draws.
        reading: options of how a text file is read, as of `caudal impute`.

    Raises:
        InputError: the data do not fit the model, or are no table.
        NumericalError: a log-density is not a number.
    """
    items, seen = _opened(model, data, draws, seed, reading)
    tables = list(_filled(model, items, seen))
    return like_data(pa.concat_tables(tables), data, draws)


@uncrowded()
def write_imputed(
    model: "Model",
    data: Any,
    out: str | Path,
    *,
    draws: int = 1,
    seed: int = 0,
    overwrite: bool = False,
    **reading: Any,
) -> Imputed:
    """Writes `data` with their gaps filled to the table file `out`; arguments as of `impute`.

    From a text file into one with the same suffix the lines go as they are, but for the gaps.

    Raises:
        InputError: as `impute`, or the file cannot be written.
        NumericalError: as `impute`.
    """
    writer = TableWriter(out)
    writer.prepare(overwrite)
    items, seen = _opened(model, data, draws, seed, reading)
    writer.check(items.arrow)
    items = items.beside_lines(writer)
    with writer:
        for table in _filled(model, items, seen):
            writer.write(table)
    return seen


def _opened(
    model: "Model", data: Any, draws: int, seed: int, reading: Mapping[str, Any]
) -> tuple[Any, Imputed]:
    """The rows, and an account of nothing so far."""
    check_seed(seed)
    check_value("draws", draws, Count)
    options = model.options(model.kind.filling, reading)
    items = model.kind.open_gaps(data, model.schema, options, model.config)
    if draws > 1:
        items.refuse_columns([COLUMN])
    for note in items.notes:
        model.voice.note(note)
    return items, Imputed(draws, seed)


def _filled(model: "Model", items: Any, seen: Imputed) -> Iterator[pa.Table]:
    """The rows piece by piece, all of them once a draw."""
    generator = noise(model.flow, seen.seed)
    for draw in range(1, seen.draws + 1):
        what = "filling" if seen.draws == 1 else f"filling, draw {draw}"
        for piece in model.voice.track(items.pieces(), what, items.total):
            table = _fill(model, items, piece, generator, seen, counted=draw == 1)
            if seen.draws > 1:
                number = pa.array([draw] * table.num_rows, pa.int32())
                table = table.append_column(COLUMN, number)
            yield table


def _fill(
    model: "Model",
    items: Any,
    piece: Piece,
    generator: torch.Generator,
    seen: Imputed,
    counted: bool,
) -> pa.Table:
    """The rows of a piece, with their gaps filled where that is possible."""
    x, context = piece.batch
    gaps = items.where(x)
    rows = gaps.any(1)
    if rows.any():
        batch = place(model.flow, Batch(x[rows], _of(context, rows)))
        free, codes = gaps[rows].to(batch.x.device), items.codes.to(batch.x)
        drawn, account = conditional_sample(
            model.flow, batch.x, free, batch.context, codes, generator
        )
        x = x.clone()
        x[rows] = drawn.cpu().to(x)
        gaps[rows] &= account.possible[:, None]
        seen.accounts.append(account)
    if counted:
        seen.rows += piece.beside.num_rows
        seen.without += piece.beside.num_rows - len(x)
        seen.impossible += int(rows.sum() - gaps.any(1).sum())
    if piece.keep is not None:
        keep = torch.from_numpy(piece.keep)
        x, gaps, rows = (_among(keep, part) for part in (x, gaps, rows))
    fillings = list(items.fillings(piece, x, gaps))
    if counted:
        masks = [filling.mask for filling in fillings]
        seen.rows_with_gaps += int(np.logical_or.reduce([rows.numpy(), *masks]).sum())
        seen.cells += sum(int(mask.sum()) for mask in masks)
    return items.filled(piece, fillings)


def _among(keep: torch.Tensor, part: torch.Tensor) -> torch.Tensor:
    """The rows that are kept among all rows, of which the others are 0."""
    every = part.new_zeros(len(keep), *part.shape[1:])
    every[keep] = part
    return every


def _of(context: torch.Tensor | None, rows: torch.Tensor) -> torch.Tensor | None:
    return None if context is None else context[rows]
