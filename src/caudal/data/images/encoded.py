"""Columns of encoded images: in Parquet files, and on the Hugging Face hub.

The hub is read by its own library, which is an extra.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from caudal.data.files.lots import CLASS, IMAGES, Listing, Lot, by_part
from caudal.data.handles import source_of
from caudal.data.refusals import damage
from caudal.data.splits import TRAIN, part_of
from caudal.data.unpacked import check_parquet
from caudal.errors import InputError, one_line

_TOGETHER = 64  # rows
_PREFIX = "hf:"
_IMAGE = ("image", "img")
_LABEL = ("label", "labels", "class", "y")


class Again:
    """What can be iterated repeatedly, because each pass starts anew."""

    def __init__(self, start: Callable[[], Iterator[Any]]) -> None:
        self._start = start

    def __iter__(self) -> Iterator[Any]:
        return self._start()


def files_in(folder: Path) -> list[Path]:
    """The Parquet files of a folder and its sub-folders, in their order."""
    paths = folder.rglob("*.parquet")
    return sorted(p for p in paths if not p.relative_to(folder).as_posix().startswith("."))


def holds_images(path: Path) -> bool:
    """Whether a Parquet file has a column of encoded images; reads its schema only."""
    try:
        return bool(_encoded(pq.read_schema(source_of(path))))
    except (pa.ArrowException, OSError):
        return False  # opening it will say what is wrong with it


def read_parquet(files: Sequence[Path], name: str) -> Listing:
    """The images of Parquet files, in parts if the files are called train-..., test-....

    Raises:
        InputError: a file is damaged, or has no column of images.
    """
    if len(files) == 1:
        return by_part(IMAGES, name, {TRAIN: _lot(files, name)})
    parts = [part_of(file.name.replace(".", "-").split("-")[0]) for file in files]
    if None in parts and set(parts) != {None}:
        odd = files[parts.index(None)]
        raise InputError(f"{odd}: {name} has files of parts, and this one is of none of them")
    chosen: dict[int, list[Path]] = {}
    for part, file in zip(parts, files, strict=True):
        chosen.setdefault(TRAIN if part is None else part, []).append(file)
    lots = {part: _lot(some, _title(some, name)) for part, some in chosen.items()}
    return by_part(IMAGES, name, lots)


def _title(files: Sequence[Path], name: str) -> str:
    return str(files[0]) if len(files) == 1 else f"{name}/{files[0].name} to {files[-1].name}"


def _lot(files: Sequence[Path], name: str) -> Lot:
    with damage(name):
        schema = pq.read_schema(source_of(files[0]))
        features = _features(schema)
        column = image_column(_encoded(schema), name)
        label = label_column(schema.names, _classes(features))
        classes = _classes(features).get(label or "")
        metas = {file: pq.read_metadata(source_of(file)) for file in files}
        for file, meta in metas.items():
            check_parquet(file.stat().st_size, str(file), meta, schema)
        labels = {CLASS: _labels(files, label, classes)} if label is not None else {}
        count = sum(meta.num_rows for meta in metas.values())
    if count == 0:
        raise InputError(f"{name} has no rows: give a file with images")
    return Lot(name, Again(lambda: _read(files, column)), count, labels=labels)


def _features(schema: pa.Schema) -> Mapping[str, Any]:
    """What the hub's own note in the file says about its columns."""
    note = (schema.metadata or {}).get(b"huggingface")
    return json.loads(note).get("info", {}).get("features", {}) if note else {}


def _classes(features: Mapping[str, Any]) -> dict[str, list[str]]:
    return {
        name: feature["names"]
        for name, feature in features.items()
        if isinstance(feature, dict) and feature.get("_type") == "ClassLabel"
    }


def _encoded(schema: pa.Schema) -> list[str]:
    """The columns of bytes, alone or with a path."""
    return [field.name for field in schema if _is_bytes(_inner(field.type))]


def _inner(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
        return kind.field("bytes").type
    return kind


def _is_bytes(kind: pa.DataType) -> bool:
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def _labels(files: Sequence[Path], column: str, names: Sequence[str] | None) -> list[Any]:
    tables = [pq.read_table(source_of(file), columns=[column]) for file in files]
    return named_labels([v for table in tables for v in table[column].to_pylist()], names)


def _read(files: Sequence[Path], column: str) -> Iterator[bytes | None]:
    for path in files:
        with damage(str(path)), pq.ParquetFile(source_of(path), pre_buffer=False) as file:
            for batch in file.iter_batches(_TOGETHER, columns=[column]):
                yield from raw_images(batch.column(0))


def raw_images(column: pa.Array) -> list[bytes | None]:
    """The bytes of each image of a column."""
    if pa.types.is_struct(column.type):
        column = pc.struct_field(column, "bytes")
    return column.to_pylist()


def image_column(columns: Sequence[str], name: str) -> str:
    """The one column of images, or the one called image.

    Raises:
        InputError: there is none, or it is not clear which.
    """
    if not columns:
        raise InputError(f"{name} has no column of images")
    named = [column for column in columns if column in _IMAGE]
    if len(columns) > 1 and not named:
        shown = ", ".join(columns)
        raise InputError(f"{name} has several columns of images ({shown}): call one 'image'")
    return (named or columns)[0]


def label_column(columns: Sequence[str], classes: Mapping[str, Sequence[str]]) -> str | None:
    """The column of classes, if there is one: called label, or the first with names of classes."""
    named = [column for column in columns if column in _LABEL]
    return next(iter([*named, *classes]), None)


def named_labels(codes: Sequence[Any], names: Sequence[str] | None) -> list[Any]:
    """The names of the classes, where they have names; None for an unknown class (-1)."""
    if names is None:
        return list(codes)
    return [names[code] if code is not None and code >= 0 else None for code in codes]


# --- the hub ---------------------------------------------------------------------------------


def is_hub(name: str) -> bool:
    """Whether a name is that of data on the hub."""
    return name.startswith(_PREFIX)


def read_hub(name: str) -> Listing:
    """The images of `hf:NAME` or `hf:NAME:CONFIG`, whose splits are the parts.

    Raises:
        InputError: the extra is not installed, the hub does not give it, or it has no images.
    """
    splits = _load(name)
    parts: dict[int, Lot] = {}
    others = []
    for split, rows in splits.items():
        part = part_of(split)
        if part is None or part in parts:
            others.append(split)
        else:
            parts[part] = _hub_lot(rows, f"{name} ({split})")
    if not parts:
        raise InputError(f"{name} has the splits {', '.join(splits)}: none of them is train")
    notes = (f"passed over the splits {', '.join(others)} of {name}",) if others else ()
    return by_part(IMAGES, name, parts, notes)


def _load(name: str) -> Any:
    try:
        import datasets
    except ImportError:
        raise InputError(f"{name} needs the datasets library: pip install 'caudal[hub]'") from None
    path, _, config = name.removeprefix(_PREFIX).partition(":")
    if not path:
        raise InputError(f"{name}: give a name of the hub, such as hf:ylecun/mnist")
    try:
        return datasets.load_dataset(path, config or None)
    except (OSError, ValueError, RuntimeError, datasets.exceptions.DatasetsError) as error:
        why = one_line(error, 200)
        raise InputError(f"{name} cannot be had from the hub: {why}") from None


def _hub_lot(rows: Any, name: str) -> Lot:
    import datasets

    features = rows.features
    images = [n for n, feature in features.items() if isinstance(feature, datasets.Image)]
    column = image_column(images, name)
    kinds = {n: f.names for n, f in features.items() if isinstance(f, datasets.ClassLabel)}
    label = label_column(list(features), kinds)
    labels = {}
    if label is not None:
        table = rows.select_columns([label]).with_format("arrow")[:]
        labels[CLASS] = named_labels(table[label].to_pylist(), kinds.get(label))
    if len(rows) == 0:
        raise InputError(f"{name} has no rows")
    chosen = rows.select_columns([column])
    return Lot(name, Again(lambda: _hub_read(chosen)), len(rows), labels=labels)


def _hub_read(rows: Any) -> Iterator[Path | bytes | None]:
    """The images of one column, as they are encoded."""
    tables = rows.with_format("arrow")
    for first in range(0, len(rows), _TOGETHER):
        yield from map(_raw, tables[first : first + _TOGETHER].column(0).to_pylist())


def _raw(image: dict[str, Any] | None) -> Path | bytes | None:
    if image is None:
        return None
    # The hub's library keeps the bytes of remote images, but perhaps only the path of local ones.
    return image["bytes"] or (Path(image["path"]) if image["path"] else None)
