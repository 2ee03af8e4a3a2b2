"""Images or clips in tar shards, as WebDataset writes them, read where they lie, or at URLs.

Files of one sample share their name up to its first dot: `7.png`, and beside it `7.cls` with its
class, or `7.json` with labels.
"""

import json
import math
import os
import re
from collections.abc import Mapping, Sequence
from itertools import islice, product
from pathlib import Path
from typing import Any, NamedTuple

from caudal.data.files.folder import lot_of_paths
from caudal.data.files.lots import AUDIO, CLASS, IMAGES, FileKind, Listing, Lot, by_part, typed
from caudal.data.files.members import Member, members_of
from caudal.data.files.places import exists, is_pattern, is_url, matching
from caudal.data.refusals import missing_file
from caudal.data.splits import part_of
from caudal.errors import InputError, one_line, printable
from caudal.files import check_regular

SUFFIX = ".tar"
_PACKED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")
_BRACES = re.compile(r"\{([^{}/]*)\}")
_RANGE = re.compile(r"(\d{1,9})\.\.(\d{1,9})")
_MOST_SHARDS = 100_000
_LOOKED_AT = 256  # members that tell what a shard holds
_BESIDE = (".cls", ".json")
_NOTES = (".txt", ".json", ".md")  # files that may lie beside shards
_LONGEST = 1 << 20  # bytes of such a file


def finds_tars(data: Any) -> bool:
    """Whether `data` names a tar, several such as `a-{00..09}.tar`, or a folder of them."""
    if not isinstance(data, str | os.PathLike):
        return False
    name = os.fspath(data)
    return name.endswith((SUFFIX, *_PACKED)) or bool(_in_folder(Path(name)))


def kind_of_tars(data: str | os.PathLike[str]) -> FileKind:
    """What the first shard holds: audio if there is more of it than of images, else images."""
    try:
        shard = next(iter(_shards(os.fspath(data))))
        names = [Path(member.name) for member in islice(members_of(shard, shard), _LOOKED_AT)]
    except (InputError, OSError):
        return IMAGES  # opening it says what is wrong
    return AUDIO if sum(map(AUDIO.fits, names)) > sum(map(IMAGES.fits, names)) else IMAGES


def read_tars(data: str | os.PathLike[str], kind: FileKind) -> Listing:
    """The images or clips of shards, in the order of their names, and of the files in each.

    Shards called train-..., valid-... and test-..., or in folders called so, are the parts; else
    folders within them are, as in a folder of files, and give the label `kind.label`. Files `.cls`
    give the label `class`, and the texts and numbers in `.json` labels of their names.

    Raises:
        InputError: a shard is missing or damaged, has what no shard should have, such as links, or
            there is nothing in them.
    """
    name = os.fspath(data)
    shards = _shards(name)
    titles = _titles(shards)
    parts = [_part(title) for title in titles]
    if None in parts and set(parts) != {None}:
        odd = titles[parts.index(None)]
        raise InputError(f"{odd}: {name} has shards of parts, and this one is of none of them")
    others = 0
    chosen: dict[int | None, list[_Sample]] = {}
    for shard, title, part in zip(shards, titles, parts, strict=True):
        samples, passed = _samples(shard, title, kind)
        chosen.setdefault(part, []).extend(samples)
        others += passed
    if not any(chosen.values()):
        known = " ".join(kind.suffixes)
        raise InputError(f"{name} holds no {kind.what}: {known} files are looked for")
    depth = _common_depth([s.member.name for some in chosen.values() for s in some])
    notes = (f"passed over files of other kinds in {name}: {others:,}",) if others else ()
    if None in chosen:
        return Listing(kind, name, (_lot(chosen[None], name, kind, depth),), notes)
    lots = {part: _lot(s, name, kind, depth) for part, s in chosen.items() if part is not None}
    return by_part(kind, name, {part: lot for part, lot in lots.items() if lot.count}, notes)


def _shards(name: str) -> list[str]:
    """The tars of that name.

    Raises:
        InputError: there are none, one is missing, or they are compressed.
    """
    if found := _in_folder(Path(name)):
        return found
    shards: list[str] = []
    for each in [name] if os.path.exists(name) else _expanded(name):
        if each.endswith(_PACKED):
            raise InputError(
                f"{each} is compressed, so that its files cannot be read where they lie: "
                f"uncompress it to {SUFFIX}, as images and sound are compressed themselves"
            )
        if is_pattern(each) and not os.path.exists(each):
            matches = matching(each)
            if not matches:
                raise InputError(f"{name}: no {SUFFIX} files are there")
            shards += matches
            continue
        if not exists(each):
            raise InputError(f"no file {each}") if is_url(each) else missing_file(each)
        check_regular(Path(each))
        shards.append(each)
    return shards


def _in_folder(folder: Path) -> list[str]:
    """The tars of a folder that has nothing else, but for notes and hidden files."""
    tars = []
    for path in folder.glob("*"):
        if path.name.startswith(".") or path.suffix in _NOTES:
            continue
        if path.suffix != SUFFIX or not path.is_file():
            return []
        tars.append(str(path))
    return sorted(tars)


def _expanded(name: str) -> list[str]:
    """The names that braces stand for: `{00..09}`, or `{a,b}`.

    Raises:
        InputError: they are too many.
    """
    pieces = _BRACES.split(name)
    lists: list[Sequence[str]] = []
    for i, piece in enumerate(pieces):
        lists.append([piece] if i % 2 == 0 else _choices(piece))
    count = 1
    for choices in lists:
        count *= len(choices)
    if count > _MOST_SHARDS:
        raise InputError(f"{name}: stands for {count:,} files, and {_MOST_SHARDS:,} are the most")
    return ["".join(each) for each in product(*lists)]


def _choices(piece: str) -> Sequence[str]:
    match = _RANGE.fullmatch(piece)
    if match is None:
        return piece.split(",")
    first, last = match.groups()
    numbers = range(int(first), min(int(last), int(first) + _MOST_SHARDS) + 1)
    return [str(number).zfill(len(first)) for number in numbers]


def _titles(shards: Sequence[str]) -> list[str]:
    """What the shards are called: their paths from the folder that holds them all on."""
    paths = [f"/{shard}" if is_url(shard) else os.path.abspath(shard) for shard in shards]
    folder = os.path.commonpath([os.path.dirname(path) for path in paths])
    return [Path(os.path.relpath(path, folder)).as_posix() for path in paths]


def _part(title: str) -> int | None:
    """The part that a shard is of, by its folders or its name; None if these tell none."""
    parts = (part_of(re.split(r"[-_.]", word)[0]) for word in title.split("/"))
    return next((part for part in parts if part is not None), None)


class _Sample(NamedTuple):
    """An image or a clip of a shard, with the labels that stand beside it."""

    member: Member
    shard: str
    labels: Mapping[str, Any]


def _samples(shard: str, title: str, kind: FileKind) -> tuple[list[_Sample], int]:
    """The images or clips of a shard, and how many other files it has."""
    raws: dict[str, list[Member]] = {}
    labels: dict[str, dict[str, Any]] = {}
    others, names = 0, set()
    for member in members_of(shard, title):
        if member.name in names:
            raise InputError(f"{title}: '{printable(member.name)}' is there twice: pack it anew")
        names.add(member.name)
        key, extension = _split(member.name)
        if extension in _BESIDE:
            labels.setdefault(key, {}).update(_labels(member, extension, title))
        elif kind.fits(Path(member.name)):
            raws.setdefault(key, []).append(member)
        else:
            others += 1
    samples = []
    for key, members in raws.items():
        # Of `7.png` and `7.mask.png`, which are of one sample, the second is no image of its own.
        plain = [member for member in members if _split(member.name)[1] in kind.suffixes]
        others += len(members) - len(plain or members)
        samples += [_Sample(member, title, labels.get(key, {})) for member in plain or members]
    return samples, others


def _split(name: str) -> tuple[str, str]:
    """The name of a sample, and what kind of file of it this is."""
    folder, _, file = name.rpartition("/")
    stem, dot, extension = file.partition(".")
    return f"{folder}/{stem}", (dot + extension).casefold()


def _labels(member: Member, extension: str, title: str) -> dict[str, Any]:
    """The labels in a file beside an image or a clip.

    Raises:
        InputError: it is no text, or no mapping.
    """
    place = f"{title}/{printable(member.name)}"
    if member.size > _LONGEST:
        raise InputError(f"{place} has {member.size:,} bytes, and labels are short: leave it out")
    try:
        text = member.read().decode("utf-8").strip()
        if extension == ".cls":
            return {CLASS: text}
        values = json.loads(text)
        return {k: v for k, v in values.items() if _is_label(v)}
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        raise InputError(f"{place} has no labels: {one_line(error, 120)}") from None


def _is_label(value: Any) -> bool:
    """Whether a value is a text, or a number that a column can hold."""
    if isinstance(value, int):
        return abs(value) < 2**63
    return isinstance(value, str) or (isinstance(value, float) and math.isfinite(value))


def _lot(samples: Sequence[_Sample], name: str, kind: FileKind, depth: int) -> Lot:
    """The samples as a lot, with the labels of their folders and of the files beside them.

    So many folders tell nothing, as all samples are in them.
    """
    paths = ["/".join(sample.member.name.split("/")[depth:]) for sample in samples]
    lot = lot_of_paths(paths, [sample.member for sample in samples], name, kind)
    titles = [f"{s.shard}/{printable(s.member.name)}" for s in samples]
    order = {member: index for index, member in enumerate(s.member for s in samples)}
    chosen = [order[member] for member in lot.raws]
    labels = dict(lot.labels)
    for label in sorted({label for sample in samples for label in sample.labels}):
        values = typed([samples[index].labels.get(label) for index in chosen])
        labels[label] = values
    return Lot(
        name,
        lot.raws,
        lot.count,
        [titles[index] for index in chosen],
        "{title}",
        labels,
        lot.homes,
    )


def _common_depth(paths: Sequence[str]) -> int:
    """How many folders all paths share, as where `tar cf a.tar a` packs them."""
    above = os.path.commonprefix([path.split("/")[:-1] for path in paths])
    # A folder that is a part, such as train, tells something even if all files are in it.
    return next((i for i, part in enumerate(above) if part_of(part) is not None), len(above))
