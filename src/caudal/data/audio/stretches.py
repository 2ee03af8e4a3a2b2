"""A long recording in three parts: consecutive stretches of time, with a gap between them."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from caudal.data.audio.recordings import Header, Raw, Stretch, read_header
from caudal.data.files.lots import Listing, Lot
from caudal.data.splits import PARTS, TRAIN
from caudal.errors import InputError

GAP = 0.5
"""Seconds between parts, more than what one sample depends on in all sizes of flows."""
_PIECE, _LEAST, _FEW = 10.0, 0.5, 4  # seconds of a piece, at most and at least; pieces, at least


def in_time(listing: Listing, shares: Sequence[float]) -> Listing:
    """The listing with each recording cut into stretches for training, validation and test.

    Validation and test stretches are cut further, into pieces of at most ten seconds, so that
    there are several items to tell errors by.

    Args:
        listing: of recordings that are too few to be shared out.
        shares: of the parts, 0 for those that come from elsewhere.

    Raises:
        InputError: a recording is too short.
    """
    lots, notes = [], list(listing.notes)
    for lot in listing.lots:
        cut = [_cut(lot, index, raw, shares) for index, raw in enumerate(lot.raws)]
        pieces = [piece for pieces, _ in cut for piece in pieces]
        notes += [note for _, note in cut if note]
        owners = [piece.owner for piece in pieces]
        labels = {name: [values[i] for i in owners] for name, values in lot.labels.items()}
        lots.append(
            replace(
                lot,
                raws=[piece.raw for piece in pieces],
                count=len(pieces),
                titles=[piece.title for piece in pieces],
                form=lot.form if "{title}" in lot.form else "{title}",
                labels=labels,
                homes=np.array([piece.part for piece in pieces]),
            )
        )
    return replace(listing, lots=tuple(lots), notes=tuple(notes))


class _Piece(NamedTuple):
    """A stretch, its part, its name, and the number of the recording that it is of."""

    raw: Stretch
    part: int
    title: str
    owner: int


def _cut(lot: Lot, index: int, raw: Raw, shares: Sequence[float]) -> tuple[list[_Piece], str]:
    """The pieces of a recording, and a note on them."""
    header, place = read_header(raw), lot.place(index)
    assert not isinstance(raw, Stretch)
    if header is None:  # it will be refused when it is read
        whole = Stretch(raw, 0, 0)
        return [_Piece(whole, TRAIN, lot.title(index, index + 1), index)], ""
    pieces, notes = [], []
    for part, start, stop in _stretches(header, shares, place):
        notes.append(f"{(stop - start) / header.rate:,.1f} s for {PARTS[part]}")
        for first, last in _pieces(start, stop, header.rate, part):
            title = f"{lot.title(index, index + 1)} from {first / header.rate:.1f} s"
            pieces.append(_Piece(Stretch(raw, first, last), part, title, index))
    return pieces, f"{place} is cut in time: {', '.join(notes)}, {GAP:g} s left out between them"


def _stretches(
    header: Header, shares: Sequence[float], place: str
) -> Iterator[tuple[int, int, int]]:
    """The part, the first sample and the end of each stretch."""
    asked = [part for part, share in enumerate(shares) if share > 0]
    gap = round(GAP * header.rate)
    rest = header.samples - gap * (len(asked) - 1)
    least = min(shares[part] for part in asked) / sum(shares) * rest
    if least < _LEAST * header.rate:
        raise InputError(
            f"{place} has {header.samples / header.rate:.1f} s, too few to be cut in time into "
            f"{len(asked)} parts with {GAP:g} s between them: give more clips, or a longer one"
        )
    start = 0
    for part in asked:
        stop = start + math.floor(rest * shares[part] / sum(shares))
        yield part, start, stop
        start = stop + gap


def _pieces(start: int, stop: int, rate: int, part: int) -> Iterator[tuple[int, int]]:
    """The ends of the pieces of a stretch; that of training stays whole."""
    seconds = (stop - start) / rate
    count = max(math.ceil(seconds / _PIECE), min(_FEW, int(seconds / (2 * _LEAST))), 1)
    edges = np.linspace(start, stop, (1 if part == TRAIN else count) + 1).astype(int).tolist()
    yield from zip(edges[:-1], edges[1:], strict=True)
