"""Labels of files as the context of a flow: from names, from tables, from sub-folders."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from caudal.data.files.folder import find_metadata
from caudal.data.files.groups import is_label
from caudal.data.files.lots import FileKind, Listing, Lot, natural, typed
from caudal.data.schema import Column
from caudal.errors import InputError
from caudal.names import near

MOST_LEVELS = 1000


@dataclass(frozen=True)
class Pattern:
    """Labels in the names of files, such as `{digit}_{speaker}_{index}`.

    It is matched against the name of a file without its suffix, and against as many folders above
    it as the pattern has slashes.

    Raises:
        InputError: there are no names in braces, or one is there twice.
    """

    text: str

    def __post_init__(self) -> None:
        names = self.names
        if not names or not all(name.isidentifier() for name in names):
            raise InputError(
                f"`labels` {self.text}: give names in braces, such as {{speaker}}_{{index}}"
            )
        for name in names:
            if names.count(name) > 1:
                raise InputError(f"`labels` {self.text}: '{name}' is there twice")

    @property
    def names(self) -> list[str]:
        """The labels that it gives."""
        return re.findall(r"\{(.*?)\}", self.text)

    def columns(self, lot: Lot, kind: FileKind) -> dict[str, list[str]]:
        """The labels in the names of all items.

        Raises:
            InputError: a name does not match.
        """
        depth = self.text.count("/") + 1
        pieces = re.split(r"\{(.*?)\}", self.text)
        made = [re.escape(p) if i % 2 == 0 else f"(?P<{p}>[^/]+?)" for i, p in enumerate(pieces)]
        form = re.compile("".join(made))
        rows: list[dict[str, str]] = []
        for index in range(lot.count):
            stem = kind.stem(lot.title(index, index + 1))
            match = form.fullmatch("/".join(stem.split("/")[-depth:]))
            if match is None:
                raise InputError(
                    f"{lot.place(index)} does not match `labels` {self.text}: rename it, or give "
                    f"another pattern"
                )
            rows.append(match.groupdict())
        return {name: [row[name] for row in rows] for name in self.names}


def with_labels(
    listing: Listing,
    labels: str | None,
    metadata: str | None,
    wanted: Sequence[str],
    fixed: Mapping[str, Any] | None = None,
    reserved: Sequence[str] = (),
    groups: str | None = None,
) -> Listing:
    """The listing with the labels that names of files and a table add to those of sub-folders.

    A pattern or a table is not looked at if `fixed` has all that is wanted. A table that the user
    did not name is read only for labels that nothing else gives.

    Args:
        listing: what the source holds.
        labels: a pattern of names, see `Pattern`.
        metadata: a table with a row for each file.
        wanted: the labels that must be there.
        fixed: labels that all items have, whatever their names or a table say.
        reserved: names that are no names for labels.
        groups: what groups of items are by, for which a table is read as well if it is a label.

    Raises:
        InputError: a label is missing, or the pattern or the table does not fit a file.
    """
    fixed = dict(fixed or {})
    if fixed and set(wanted) <= set(fixed):
        labels = metadata = None
    lots = [dict(lot.labels) for lot in listing.lots]
    added = set(fixed)
    if labels is not None:
        pattern = Pattern(labels)
        added |= set(pattern.names)
        for lot, columns in zip(listing.lots, lots, strict=True):
            columns.update(pattern.columns(lot, listing.kind))
    names = listing.label_names | added
    if taken := names & set(reserved):
        raise InputError(f"`labels`: '{taken.pop()}' is no name for a label: choose another")
    grouped = {groups} if groups is not None and is_label(groups) else set()
    if metadata is not None or (set(wanted) | grouped) - names:
        added |= _add_table(listing, lots, metadata)
    for lot, columns in zip(listing.lots, lots, strict=True):
        columns.update({name: [value] * lot.count for name, value in fixed.items()})
    _check_wanted(wanted, listing, listing.label_names | added, reserved)
    _type(lots, added)
    pairs = zip(listing.lots, lots, strict=True)
    return replace(listing, lots=tuple(replace(lot, labels=columns) for lot, columns in pairs))


def _add_table(
    listing: Listing, lots: list[dict[str, Sequence[Any]]], metadata: str | None
) -> set[str]:
    """Adds the columns of a table where an item has no such label, and returns their names."""
    table = find_metadata(listing, metadata)
    if table is None:
        return set()
    for lot, columns in zip(listing.lots, lots, strict=True):
        rows = [table.labels(lot, index, listing.kind) for index in range(lot.count)]
        for name in table.columns:
            before = columns.get(name, [None] * lot.count)
            pairs = zip(before, rows, strict=True)
            columns[name] = [row[name] if old is None else old for old, row in pairs]
    return set(table.columns)


def _check_wanted(
    wanted: Sequence[str], listing: Listing, names: set[str], reserved: Sequence[str]
) -> None:
    for name in wanted:
        if name not in names:
            hint = near(name, [*reserved, *sorted(names)])
            own = listing.kind.label
            more = "" if names - {own} else " (labels come with `labels` or `metadata`)"
            if listing.kind.plain and own not in names:
                more = f" ('{own}' comes with sub-folders, other labels with `labels`, `metadata`)"
            raise InputError(f"`context` {name}: {listing.name} has no such label; {hint}{more}")


def _type(lots: list[dict[str, Sequence[Any]]], names: set[str]) -> None:
    """Makes numbers of the labels under which every item of all lots has a number."""
    for name in names:
        sizes = [len(columns.get(name, ())) for columns in lots]
        values = iter(typed([v for columns in lots for v in columns.get(name, ())]))
        for columns, size in zip(lots, sizes, strict=True):
            if size:
                columns[name] = [next(values) for _ in range(size)]


def make_column(name: str, values: Sequence[Any], kind: FileKind) -> Column:
    """The column of a label: its categories, or real numbers.

    Raises:
        InputError: all values are equal, or there are too many categories.
    """
    levels = set(values)
    if len(levels) == 1:
        raise InputError(
            f"`context` {name}: each training {kind.one} has '{levels.pop()}': go without it"
        )
    is_plain = kind.plain and name == kind.label
    if all(isinstance(value, float) for value in levels) and not is_plain:
        return Column(name, "real")
    if len(levels) > MOST_LEVELS:
        raise InputError(
            f"`context` {name}: it has {len(levels)} different values, at most {MOST_LEVELS} can "
            f"be conditioned on"
        )
    if all(isinstance(value, int) for value in levels):
        return Column.of_categories(name, tuple(sorted(levels)), "int64")
    texts = {str(value) for value in levels}
    order = sorted(texts) if is_plain else sorted(texts, key=natural)
    return Column.of_categories(name, tuple(order), "string")


def values_of(lot: Lot, name: str) -> Sequence[Any]:
    """The values of a label, one an item.

    Raises:
        InputError: an item has no label of that name.
    """
    values = lot.labels.get(name, [None] * lot.count)
    bare = next((i for i, value in enumerate(values) if value is None or value == ""), None)
    if bare is None:
        return values
    known = [other for other, value in lot.labels_of(bare).items() if value != ""]
    hint = near(name, known) if known else "give `labels` or `metadata`, or leave it out"
    raise InputError(f"{lot.place(bare)} has no label '{name}'; {hint}")


def encode_labels(lot: Lot, columns: Sequence[Column], kind: FileKind) -> Tensor:
    """The labels of a lot as numbers, float32 (N, C); the text '7' is the number 7.

    Raises:
        InputError: an item lacks a label, or has one that no training item has.
    """
    codes = torch.empty(lot.count, len(columns))
    for place, column in enumerate(columns):
        values = values_of(lot, column.name)
        known = {str(value): float(code) for code, value in enumerate(column.categories or ())}
        of_value = {value: _code(value, column, known) for value in set(values)}
        bad = next((i for i, value in enumerate(values) if of_value[value] is None), None)
        if bad is not None:
            what = f"{lot.place(bad)} has the {column.name} '{values[bad]}', which is"
            if column.categories is None:
                raise InputError(f"{what} no number: correct it")
            if len(of_value) == lot.count and known.keys() <= set(map(str, values)):
                raise InputError(
                    f"each {kind.one} of {lot.name} has another {column.name}, "
                    f"such as '{values[bad]}' of {lot.place(bad)}: give a label that several "
                    f"have, or a pattern in `labels` that takes less of a name, such as "
                    f"{{speaker}}_{{index}}"
                )
            hint = near(str(values[bad]), list(known))
            raise InputError(f"{what} in no training {kind.one}; {hint}")
        codes[:, place] = torch.tensor([of_value[value] for value in values])
    return codes


def _code(value: Any, column: Column, known: dict[str, float]) -> float | None:
    """The number of a value, None where the column does not hold it."""
    if column.categories is not None:
        return known.get(str(value))
    try:
        return float(value)
    except ValueError:
        return None
