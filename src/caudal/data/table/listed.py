"""columns.yaml: what each column was taken for, to be read, edited and given back."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from caudal.data.schema import KINDS, Column
from caudal.data.table.declare import Declared, complete, problem_of
from caudal.data.table.guess import FOLLOWS, PASSED, Summary
from caudal.data.table.schema import TableSchema
from caudal.errors import InputError, one_line
from caudal.files import read_yaml
from caudal.names import near

COLUMNS_FILE = "columns.yaml"
EXCLUDED = "excluded"
_GAPS = {"modelled": "model", "dropped": "drop"}
_FIELDS = {f.name: f.default for f in fields(Declared)}
_HEAD = """\
# What caudal took each column for. Edit it, and give it back as `types_from`.
# kind: {kinds},
#   {passed}, {follows} (if other columns still say so), or {excluded} from samples, too;
# gaps: {gaps}; above: columns that it is never below, in rows or in samples.
"""


@dataclass(frozen=True)
class Listed:
    """What such a file says.

    Attributes:
        declared: what columns are.
        gaps: "model" or "drop", for columns with gaps.
        marks: texts that stand for missing numbers.
        passed: why columns are passed over.
        excluded: columns that are left out altogether.
    """

    declared: dict[str, Declared] = field(default_factory=dict)
    gaps: dict[str, str] = field(default_factory=dict)
    marks: dict[str, tuple[str, ...]] = field(default_factory=dict)
    passed: dict[str, str] = field(default_factory=dict)
    excluded: tuple[str, ...] = ()


def write_columns(
    schema: TableSchema, summary: Sequence[Summary], excluded: Sequence[str] = ()
) -> str:
    """The text of columns.yaml."""
    import yaml

    seen = {s.name: s for s in summary}
    above = {rule.name: list(rule.sources) for rule in schema.inequalities}
    entries: dict[str, dict[str, Any]] = {}
    for column in (*schema.columns, *schema.context):
        entry = _entry(column)
        entry |= {"marks": list(column.marks)} if column.marks else {}
        entry |= {"above": above[column.name]} if column.name in above else {}
        known = seen.get(column.name)
        if known is not None:
            kept = "modelled" if known.gaps == "told" else known.gaps  # a context has no model
            entry |= {"gaps": kept} if kept else {}
            entry |= {"role": "context"} if known.role == "context" else {}
            entry["why"] = known.source
        entries[column.name] = entry
    for passed in schema.passed_over:
        entries[passed.name] = {"kind": PASSED, "why": passed.why}
    for follower in schema.followers:
        entries[follower.name] = {"kind": FOLLOWS, "why": follower.why}
    entries = {n: entries[n] for n in schema.order or entries}
    entries |= {name: {"kind": EXCLUDED} for name in excluded}
    head = _HEAD.format(
        kinds=", ".join(KINDS),
        passed=PASSED,
        follows=FOLLOWS,
        excluded=EXCLUDED,
        gaps=" or ".join(_GAPS),
    )
    return head + yaml.safe_dump(entries, sort_keys=False, allow_unicode=True)


def _entry(column: Column) -> dict[str, Any]:
    """What a column is, in the user's numbers."""
    if column.categories is not None:
        return {"kind": "categorical"}
    if column.unit is not None:
        return {"kind": column.kind, **({"format": column.format} if column.format else {})}
    by, low = column.offset, column.low
    ends = {name: v + by for name in ("low", "high") if (v := getattr(column, name)) is not None}
    if column.period is not None:
        ends["high"] = ends["low"] + column.period
    entry: dict[str, Any] = {"kind": column.kind, **ends}
    entry |= {"step": column.step} if column.step else {}
    entry |= {"atoms": [atom + by for atom in column.atoms]} if column.atoms else {}
    return {**entry, **({"offset": by} if by and low is None else {})}


def read_columns(path: str, names: Sequence[str]) -> Listed:
    """What columns.yaml says of columns among `names`; the others are guessed.

    Raises:
        InputError: the file cannot be read, or names no column, kind or value that there is.
    """
    listed = Listed()
    excluded: list[str] = []
    for name, entry in _entries(path).items():
        where = f"`types_from` {path}, column '{name}'"
        if name not in names:
            raise InputError(f"{where}: there is no such column; {near(name, names)}")
        if not isinstance(entry, dict) or "kind" not in entry:
            raise InputError(f"{where}: give its kind, such as kind: real")
        gaps = entry.get("gaps")
        if gaps is not None and gaps not in _GAPS:
            raise InputError(f"{where}: gaps {gaps}: choose {' or '.join(_GAPS)}")
        if entry["kind"] == PASSED:
            listed.passed[name] = str(entry.get("why", "is passed over"))
        elif entry["kind"] == FOLLOWS:
            continue  # what it follows is found again
        elif entry["kind"] == EXCLUDED:
            excluded.append(name)
        else:
            listed.declared[name] = declared = _declared(entry, where)
            for other in declared.above:
                if other == name:
                    raise InputError(f"{where}: above {other}: that is the column itself")
                if other not in names:
                    raise InputError(
                        f"{where}: above {other}: there is no such column; {near(other, names)}"
                    )
            listed.gaps.update({name: _GAPS[gaps]} if gaps else {})
            if marks := entry.get("marks"):
                listed.marks[name] = tuple(map(str, marks if isinstance(marks, list) else [marks]))
    return replace(listed, excluded=tuple(excluded))


def _entries(path: str) -> Mapping[str, Any]:
    try:
        content = read_yaml(Path(path))
    except InputError:
        raise
    except (OSError, ValueError) as error:
        raise InputError(f"`types_from` {path}: cannot be read: {one_line(error, 120)}") from None
    if not isinstance(content, dict):
        raise InputError(f"`types_from` {path}: must hold names of columns, and what they are")
    return {str(name): entry for name, entry in content.items()}


def _declared(entry: Mapping[str, Any], where: str) -> Declared:
    known = (*_FIELDS, "gaps", "marks", "role", "why")
    for key in entry:
        if key not in known:
            raise InputError(f"{where}: unknown entry '{key}'; {near(str(key), known)}")
    if entry["kind"] not in KINDS:
        raise InputError(f"{where}: unknown kind '{entry['kind']}'; kinds are {', '.join(KINDS)}")
    values = {name: entry[name] for name in _FIELDS if entry.get(name) is not None}
    for name, value in values.items():
        numbers = value if name == "atoms" and isinstance(value, list) else [value]
        if name not in ("kind", "format", "above") and not all(map(_is_number, numbers)):
            raise InputError(f"{where}: {name} {value} is not a finite number")
    if not isinstance(values.get("format", ""), str):
        raise InputError(f"{where}: format {values['format']} is no text")
    above = values.get("above", ())
    above = [above] if isinstance(above, str) else above
    if not isinstance(above, list | tuple):
        raise InputError(f"{where}: above {above} is neither a name nor a list of names")
    lists = {"atoms": tuple(values.get("atoms", ())), "above": tuple(map(str, above))}
    declared = Declared(**{**values, **lists})
    if problem := problem_of(declared, bracket=False):
        raise InputError(f"{where}: {problem}")
    return complete(declared)


def _is_number(value: Any) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and abs(value) <= sys.float_info.max
