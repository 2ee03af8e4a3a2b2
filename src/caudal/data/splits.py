"""Which items are for training, validation and test: a hash of the item's number."""

from collections.abc import Sequence

import numpy as np

from caudal.errors import InputError
from caudal.fields import check_value

TRAIN, VALID, TEST = range(3)
PARTS = ("training", "validation", "test")
_FEW = 1000  # rows among which the hash may leave a part empty
_WORDS = {
    "train": TRAIN,
    "training": TRAIN,
    "valid": VALID,
    "validation": VALID,
    "val": VALID,
    "dev": VALID,
    "test": TEST,
    "testing": TEST,
}


def part_of(word: str) -> int | None:
    """The part that a folder, a file or an array of that name is, or None."""
    return _WORDS.get(word.casefold())


def hash_rows(rows: np.ndarray, seed: int) -> np.ndarray:
    """A uniform number in [0, 1) for each row number: float64 (N,), a pure function of both.

    This is splitmix64's mixer (Steele, Lea and Flood, "Fast splittable pseudorandom number
    generators", 2014), applied to the seed and then to the row.
    """
    stream = _mix(np.array([seed % 2**64], np.uint64))
    return (_mix(rows.astype(np.uint64) ^ stream) >> np.uint64(11)) * 2.0**-53


def _mix(z: np.ndarray) -> np.ndarray:
    z = z + np.uint64(0x9E3779B97F4A7C15)  # arrays wrap around silently, scalars would warn
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


class Split:
    """Assigns each row to train, valid or test, in about the given fractions.

    The part of a row depends on its number and the seed alone: a table is split alike as CSV and
    as Parquet, the part of a row does not change when others are dropped, and streaming needs no
    permutation of the file. Where that leaves a part of a small table without rows, each part gets
    its share of the rows instead, and at least one, in the order of their hashes.

    Args:
        fractions: the share of each part, 0 for none.
        seed: of the hash.
        count: how many rows there are, where each part with a share must have one.
    """

    def __init__(self, fractions: Sequence[float], seed: int, count: int | None = None) -> None:
        total = sum(fractions)
        self.edges = np.cumsum(fractions)[:-1] / total
        self.edges[np.cumsum(fractions[::-1])[::-1][1:] == 0] = 1.0  # nothing left: exactly 1
        self.seed = seed
        self._shared: np.ndarray | None = None
        if count is not None and count <= _FEW:
            counts = np.bincount(self.parts(0, count), minlength=len(PARTS))
            if any(share > 0 and not n for share, n in zip(fractions, counts, strict=True)):
                self._shared = _shared(fractions, hash_rows(np.arange(count), seed))

    def parts(self, first: int, count: int) -> np.ndarray:
        """The parts (0 train, 1 valid, 2 test) of `count` rows from number `first`: int64."""
        if self._shared is not None:
            return self._shared[first : first + count]
        rows = np.arange(first, first + count)
        return np.searchsorted(self.edges, hash_rows(rows, self.seed), side="right")


def _shared(fractions: Sequence[float], hashes: np.ndarray) -> np.ndarray:
    """The part of each row, so that each part with a share has that share, and at least a row."""
    parts = np.full(len(hashes), TRAIN)
    order, start = np.argsort(hashes), 0
    for part in (VALID, TEST):
        if fractions[part] > 0:
            stop = start + max(1, round(fractions[part] * len(hashes) / sum(fractions)))
            parts[order[start:stop]] = part
            start = stop
    return parts


def check_fractions(fractions: Sequence[float]) -> tuple[float, float, float]:
    """Refuses fractions that make no split."""
    shares = tuple(fractions) if isinstance(fractions, list) else fractions
    check_value("split", shares, tuple[float, ...])
    is_whole = abs(sum(fractions) - 1) <= 1e-6  # False for NaN
    if len(fractions) != 3 or not min(fractions) > 0 or not is_whole:
        shown = " ".join(f"{f:g}" for f in fractions)
        raise InputError(
            f"`split` {shown}: give the three shares of training, validation and test rows, "
            f"each above 0, that sum to 1, such as 0.8 0.1 0.1"
        )
    train, valid, test = fractions
    return train, valid, test


def too_few(name: str, count: int, many: str, part: int, notes: Sequence[str] = ()) -> InputError:
    """The error for a part that gets nothing of the `count` items of a source."""
    return InputError(
        f"{name} has too few {many}, {count}, which leaves none for {PARTS[part]}: give more "
        f"{many}, or other shares with `split`{''.join(f'; {note}' for note in notes)}"
    )
