"""What to know of clips as they were read: their rates, channels, offsets and lengths."""

from collections.abc import Collection, Iterable, Sequence

from caudal.data.audio.clips import Clips
from caudal.data.audio.recordings import Header
from caudal.data.audio.schema import (
    AudioSchema,
)
from caudal.errors import InputError


def changes(headers: Sequence[Header | None], schema: AudioSchema) -> list[str]:
    """Notes on files of another rate, and on those with several channels."""
    known = [header for header in headers if header is not None]
    others = sum(header.rate != schema.rate for header in known)
    several = sum(header.channels > 1 for header in known)
    notes = []
    if others:
        notes.append(f"resampled {others} of {len(headers)} clips to {schema.rate} Hz")
    if several:
        notes.append(f"averaged the channels of {several} of {len(headers)} clips")
    return notes


def remarks(parts: Iterable[Clips]) -> list[str]:
    """Notes on clips that had an offset, and on clips that are clipped a little."""
    every = [each for clips in parts for each in zip(clips.names, clips.treatments, strict=True)]
    offsets = [(abs(treated.offset), name) for name, treated in every if treated.offset]
    clipped = [(treated.clipped, name) for name, treated in every if treated.clipped]
    notes = []
    if offsets:
        most, name = max(offsets)
        notes.append(
            f"took a constant off {len(offsets)} of {len(every)} clips, which no sound has: "
            f"{most:.3g} of full scale in {name}" + (", the most" if len(offsets) > 1 else "")
        )
    if clipped:
        most, name = max(clipped)
        notes.append(
            f"{len(clipped)} of {len(every)} clips are clipped, {name} in {most:.2%} of its "
            f"samples: what was louder there is lost"
        )
    return notes


def check_crop(parts: Iterable[Clips], schema: AudioSchema) -> None:
    """Refuses crops that are mostly silence, however long the clip."""
    longest = max(max(clips.lengths) for clips in parts)
    if schema.crop > 2 * longest and schema.crop > schema.hop:
        raise InputError(
            f"`seconds` {schema.crop / schema.rate:g}: the longest clip has "
            f"{longest / schema.rate:.3g} s: give no more than that"
        )


def padded(parts: Collection[Clips], schema: AudioSchema) -> list[str]:
    """A note on clips that are shorter than a crop."""
    count = sum(clips.n_padded for clips in parts)
    total = sum(clips.n_items for clips in parts)
    if not count:
        return []
    return [
        f"{count} of {total} clips are shorter than the {schema.crop / schema.rate:g} s of a "
        f"training row, and followed by silence there: a smaller `seconds` avoids it"
    ]
