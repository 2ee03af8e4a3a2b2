"""Images of the Hugging Face hub, by its own library, which is an extra."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from caudal.data.files.lots import Listing, Lot, by_part
from caudal.data.images.kind import CLASS, IMAGES
from caudal.data.images.parquet import Again, image_column, label_column, named_labels
from caudal.data.splits import part_of
from caudal.errors import InputError

_PREFIX = "hf:"
_TOGETHER = 64  # rows


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
            parts[part] = _lot(rows, f"{name} ({split})")
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
        why = " ".join(str(error).split())[:200]
        raise InputError(f"{name} cannot be had from the hub: {why}") from None


def _lot(rows: Any, name: str) -> Lot:
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
    return Lot(name, Again(lambda: _read(chosen)), len(rows), labels=labels)


def _read(rows: Any) -> Iterator[Path | bytes | None]:
    """The images of one column, as they are encoded."""
    tables = rows.with_format("arrow")
    for first in range(0, len(rows), _TOGETHER):
        yield from map(_raw, tables[first : first + _TOGETHER].column(0).to_pylist())


def _raw(image: dict[str, Any] | None) -> Path | bytes | None:
    if image is None:
        return None
    # The hub's library keeps the bytes of remote images, but perhaps only the path of local ones.
    return image["bytes"] or (Path(image["path"]) if image["path"] else None)
