"""Images or clips before they are read: their number, their names, their labels."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any, cast

import numpy as np

from caudal.data.splits import TRAIN

_WHOLE, _NUMBER = r"-?(0|[1-9]\d{0,17})", r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?"
CLASS = "class"


@dataclass(frozen=True)
class FileKind:
    """What differs between images and audio where files are concerned.

    Attributes:
        one: the word for one of them, such as "clip".
        many: the word for several of them, such as "clips".
        what: the word for such data, such as "audio".
        suffixes: of its files.
        label: the label that sub-folders give.
        plain: whether that label is text in plain order, as usual for folders of classes; else it
            is typed, and in natural order, like other labels.
        parts_first: whether the files of a folder are in the order of their parts, then of their
            paths; else of their paths alone.
    """

    one: str
    many: str
    what: str
    suffixes: tuple[str, ...]
    label: str
    plain: bool
    parts_first: bool

    def fits(self, path: Path) -> bool:
        """Whether a file looks like one of these, by its name."""
        return path.suffix.casefold() in self.suffixes

    def stem(self, title: str) -> str:
        """The name of a file without its suffix."""
        return str(PurePosixPath(title).with_suffix("")) if self.fits(Path(title)) else title


IMAGES = FileKind(
    one="image",
    many="images",
    what="images",
    suffixes=(".png", ".jpg", ".jpeg", ".webp", ".bmp"),
    label=CLASS,
    plain=True,
    parts_first=True,
)
FOREIGN = (".m4a", ".aac", ".wma", ".amr", ".mka")
"""Files of sound that only ffmpeg reads."""
AUDIO = FileKind(
    one="clip",
    many="clips",
    what="audio",
    suffixes=(".wav", ".flac", ".ogg", ".mp3", ".opus", ".aiff", ".aif", *FOREIGN),
    label="folder",
    plain=False,
    parts_first=False,
)


@dataclass(frozen=True)
class Lot:
    """Some images or clips of a source, in their order.

    Attributes:
        name: what errors call all of them, mostly the file or folder as the user wrote it.
        raws: what each is read from, such as its file; may be iterated repeatedly.
        count: how many there are.
        titles: what results call each, such as its file relative to the folder; numbers if None.
        form: what errors call each, made of `name`, `title` and `number`.
        labels: the values of each label, one an item; None where an item has none.
        homes: the part of each as the source has it, int (N,), or one part for all of them.
        array: all of them, uint8 (N, H, W, C), where the source is such an array.
    """

    name: str
    raws: Iterable[Any]
    count: int
    titles: Sequence[str] | None = None
    form: str = "{name}, image {number}"
    labels: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    homes: np.ndarray | int = TRAIN
    array: np.ndarray | None = None

    @property
    def parts(self) -> np.ndarray:
        """The part of each item as the source has it, int (N,)."""
        return np.broadcast_to(np.asarray(self.homes), (self.count,))

    def raw(self, index: int) -> Any:
        """What one item is read from; only for a lot of files, or of sounds in memory."""
        return cast(Sequence[Any], self.raws)[index]

    def place(self, index: int) -> str:
        """What errors call an item: `photos/cat/1.png`, or `mnist.npz, image 7`."""
        title = self.titles[index] if self.titles else ""
        return self.form.format(name=self.name, title=title, number=index + 1)

    def title(self, index: int, number: int) -> str:
        """What results call an item: its file, or else its number among all of the source."""
        return self.titles[index] if self.titles else str(number)

    def labels_of(self, index: int) -> dict[str, Any]:
        """The labels of one item, without those that it does not have."""
        values = {name: column[index] for name, column in self.labels.items()}
        return {name: value for name, value in values.items() if value is not None}

    def take(self, chosen: np.ndarray) -> "Lot":
        """The items of these numbers (n,), in this order; only files can be selected from."""
        if np.array_equal(chosen, np.arange(self.count)):
            return self

        def pick(values: Iterable[Any]) -> list[Any]:
            every = list(values)
            return [every[index] for index in chosen.tolist()]

        return replace(
            self,
            raws=pick(self.raws),
            count=len(chosen),
            titles=self.titles and pick(self.titles),
            labels={name: pick(values) for name, values in self.labels.items()},
            homes=self.parts[chosen],
        )


@dataclass(frozen=True)
class Listing:
    """What a source holds.

    Attributes:
        kind: of files.
        name: what the user called the source.
        lots: its images or clips.
        notes: what the user should know, such as files that were ignored.
        folder: the folder that it is, None if it is none.
        bits: of each pixel, so many carry information.
    """

    kind: FileKind
    name: str
    lots: tuple[Lot, ...]
    notes: tuple[str, ...] = ()
    folder: Path | None = None
    bits: int = 8

    @property
    def count(self) -> int:
        """How many images or clips there are."""
        return sum(lot.count for lot in self.lots)

    @property
    def label_names(self) -> set[str]:
        """The labels that at least one lot has."""
        return {name for lot in self.lots for name in lot.labels}


def natural(path: str) -> list[tuple[int, int, str]]:
    """A key for sorting by which a/2.png comes before a/10.png."""
    pieces = re.split(r"(\d+)", path)
    return [(1, 0, t) if i % 2 == 0 else (0, int(t), t) for i, t in enumerate(pieces)]


def by_part(
    kind: FileKind, name: str, lots: dict[int, Lot], notes: tuple[str, ...] = ()
) -> Listing:
    """A source whose lots are parts."""
    homes = tuple(replace(lots[part], homes=part) for part in sorted(lots))
    return Listing(kind, name, homes, notes)


def typed(values: Sequence[Any]) -> list[Any]:
    """Values as whole numbers or as numbers, if all of them are; None stays None.

    Digits with leading zeros ("007") are text.
    """
    texts = [str(value) for value in values if value is not None]
    convert: type = str
    if all(re.fullmatch(_WHOLE, text) for text in texts):
        convert = int
    elif not any(re.match(r"[+-]?0\d", text) for text in texts):
        convert = float if all(re.fullmatch(_NUMBER, text) for text in texts) else str
    return [None if value is None else convert(value) for value in values]
