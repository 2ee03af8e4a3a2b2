"""From what the user names to training, validation and test clips, or all clips."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from caudal.data.audio.clips import Clips
from caudal.data.audio.convention import CAUDAL, convention_of
from caudal.data.audio.form import Form
from caudal.data.audio.recordings import Header, Raw, find_audio, read_header, read_sound
from caudal.data.audio.remarks import changes, check_crop, padded, remarks
from caudal.data.audio.schema import (
    PREDICTION,
    RESERVED,
    AudioSchema,
    check_rate,
    check_window,
    crop_of,
    read_context,
    window_of,
)
from caudal.data.audio.shelves import fill
from caudal.data.audio.stretches import in_time
from caudal.data.dataset import Dataset, Listed
from caudal.data.files.jobs import (
    Decoder,
    FaultError,
    Job,
    Progress,
    check_corrupt,
    is_pattern,
    place,
    with_codes,
)
from caudal.data.files.labels import make_column, values_of, with_labels
from caudal.data.files.lots import AUDIO, Listing
from caudal.data.schema import Column
from caudal.data.splits import TEST, TRAIN, VALID, check_fractions
from caudal.errors import InputError

_MEMORY = 1 << 30


def open_audio(
    data: Any,
    *,
    rate: int | None = None,
    seconds: float = 0.25,
    hop: int = 128,
    mels: int = 64,
    window: int | None = None,
    trim: bool = True,
    normalize: bool = True,
    mel_convention: str = "caudal",
    mel_low: float | None = None,
    mel_high: float | None = None,
    mel_scale: str | None = None,
    mel_log: str | None = None,
    mel_floor: float | None = None,
    prediction: int = PREDICTION,
    update: bool = False,
    context: Sequence[str] = ("mel",),
    labels: str | None = None,
    metadata: str | None = None,
    corrupt: str = "refuse",
    valid: Any = None,
    test: Any = None,
    split: Sequence[float] = (0.8, 0.1, 0.1),
    split_by: str | None = None,
    seed: int = 0,
    schema: AudioSchema | None = None,
    memory: int = _MEMORY,
    progress: Progress | None = None,
) -> Dataset[AudioSchema, Clips]:
    """Opens recordings, turns them into clips of one form, and splits these into three parts.

    Args:
        data: a folder of audio files, one such file, tar shards such as
            `shards-{000..009}.tar`, or the built-in "vowels".
        rate: samples a second; that of most files if None. Others are resampled.
        seconds: of a training row.
        hop: samples a frame of the context.
        mels: bands of the log-mel spectrum, where that is in `context`.
        window: samples of its window; the power of two nearest to 46 ms if None.
        trim: cut off silence at both ends.
        normalize: scale each clip to a peak of 0.95.
        mel_convention: how the spectrum is made, a name of `CONVENTIONS`.
        mel_low: where its first band begins, in Hz; as in the convention if None.
        mel_high: where its last band ends, likewise.
        mel_scale: on which its bands are evenly spaced, "slaney" or "htk", likewise.
        mel_log: of spectra in files: "e", "10" or "db", likewise.
        mel_floor: the least value before the logarithm, likewise.
        prediction: of how many samples before it a linear prediction makes each sample, where
            "mel" is in `context`; 0 for none.
        update: whether the spectra of frames that have begun update that prediction.
        context: what to condition on: "mel", and names of labels; or "none".
        labels: a pattern of the names of files, such as `{digit}_{speaker}_{index}`.
        metadata: a table with a row for each file, whose columns are labels.
        corrupt: "refuse" or "skip" files that cannot be used.
        valid: validation clips: another source, or a pattern such as `*_0.wav` of names in
            `data`; else a part of `data`, or a share of it.
        test: test clips, likewise.
        split: shares of training, validation and test clips, where there are no parts.
        split_by: a label, or a regular expression on names, whose clips stay in one part.
        seed: of the split.
        schema: of a finished run, from which `rate` to `normalize` and `context` are then taken.
        memory: bytes above which clips are decoded from their files as they are needed.
        progress: shows how far reading has come.

    Raises:
        InputError: the audio cannot be used; the message has the file and advice.
    """
    check_corrupt(corrupt)
    check_rate(rate)
    fractions = check_fractions(split)
    names, bands = read_context(context, mels)
    if schema is not None:
        names = tuple(column.name for column in schema.context)

    def find(data: Any) -> Listing:
        listing = find_audio(data)
        return with_labels(listing, labels, metadata, names, reserved=RESERVED, groups=split_by)

    main = find(data)
    if corrupt == "refuse":
        _check_first(main)
    if shares := _shares_of_time(main, valid, test, fractions):
        main = in_time(main, shares)
    jobs, more = place(main, valid, test, fractions, seed, find, None if shares else split_by)
    headers = _headers(jobs)
    if schema is None:
        rate = rate or _common_rate(headers, jobs)
        columns = tuple(_column(name, jobs) for name in names)
        crop = crop_of(seconds, rate, hop)
        frame = window_of(rate) if window is None else window
        check_window(frame, bands, rate)
        form = rate, crop, hop, bands, frame, trim, normalize
        own = {"low": mel_low, "high": mel_high, "scale": mel_scale, "log": mel_log}
        made = convention_of(mel_convention, floor=mel_floor, **own)
        if bands:
            made.ends(rate)
        if update and made != CAUDAL:
            raise InputError(
                "`update=True` needs spectra of caudal's own convention: leave the options of "
                "`mel_convention` away, or the update"
            )
        beside = columns, prediction, made, update
        schema = AudioSchema(*form, 16, *beside)
    decoder = Decoder(AUDIO, Form(schema).read, corrupt, progress)
    clips = fill(with_codes(jobs, schema.context, AUDIO), decoder, schema, headers, memory)
    skipped = decoder.finish(main.name, {part: len(c.names) for part, c in clips.items()})
    check_crop(clips.values(), schema)
    more += [
        *changes(headers, schema),
        *remarks(clips.values()),
        *skipped,
        *padded(clips.values(), schema),
    ]
    notes = (*main.notes, *more)
    return Dataset(main.name, schema, clips[TRAIN], clips[VALID], clips[TEST], notes)


def _check_first(listing: Listing) -> None:
    """Refuses a source whose first file is no audio, before its clips are counted.

    Raises:
        InputError: it cannot be read.
    """
    lot = listing.lots[0]
    first = next(iter(lot.raws), None)
    if first is not None and read_header(first) is None:
        read_sound(first, lot.place(0))


def open_clips(
    data: Any,
    schema: AudioSchema,
    *,
    labels: str | None = None,
    metadata: str | None = None,
    fixed: Mapping[str, Any] | None = None,
    corrupt: str = "refuse",
    memory: int = _MEMORY,
    progress: Progress | None = None,
) -> Listed:
    """All clips of a source, of every part, in the form that the schema of a finished run has.

    Args:
        data: as for `open_audio`.
        schema: of the run; the clips must have the labels that its context asks for.
        labels: as for `open_audio`.
        metadata: as for `open_audio`.
        fixed: labels that all clips have, whatever their names or a table say.
        corrupt: "refuse" or "skip" files that cannot be used.
        memory: bytes above which clips are decoded from their files as they are needed.
        progress: shows how far reading has come.

    Raises:
        InputError: the clips do not fit the schema, or cannot be read.
    """
    check_corrupt(corrupt)
    names = tuple(column.name for column in schema.context)
    listing = with_labels(find_audio(data), labels, metadata, names, fixed, RESERVED)
    jobs = [Job.whole(lot) for lot in listing.lots]
    headers = _headers(jobs)
    decoder = Decoder(AUDIO, Form(schema).read, corrupt, progress)
    parts = fill(with_codes(jobs, schema.context, AUDIO), decoder, schema, headers, memory)
    counts = {part: len(clips.names) for part, clips in parts.items()}
    skipped = decoder.finish(listing.name, counts, [TRAIN])
    clips = parts[TRAIN]
    notes = (*listing.notes, *changes(headers, schema), *remarks([clips]), *skipped)
    beside = {"clip": pa.array(clips.names, pa.string()), "seconds": clips.seconds}
    return Listed(listing.name, clips, pa.table(beside), notes, len(clips.names))


def _shares_of_time(
    main: Listing, valid: Any, test: Any, fractions: Sequence[float]
) -> list[float]:
    """Shares by which recordings are cut in time, where there are too few for the parts; or []."""
    if any(bool((lot.parts != TRAIN).any()) for lot in main.lots):
        return []
    if any(data is not None and is_pattern(data) for data in (valid, test)):
        return []
    lacking = {TRAIN: True, VALID: valid is None, TEST: test is None}
    if main.count >= sum(lacking.values()):
        return []
    return [share if lacking[part] else 0.0 for part, share in enumerate(fractions)]


def _headers(jobs: Sequence[Job]) -> list[Header | None]:
    return [read_header(raw) for job in jobs for raw in job.lot.raws]


def _column(name: str, jobs: Sequence[Job]) -> Column:
    """The column of a label, whose categories are those of the training clips."""
    lots = [lot.take(np.flatnonzero(parts == TRAIN)) for lot, parts, _ in jobs]
    return make_column(name, [v for lot in lots for v in values_of(lot, name)], AUDIO)


def _common_rate(headers: Sequence[Header | None], jobs: Sequence[Job]) -> int:
    """The rate of most files, the higher one on a draw."""
    counts = Counter(header.rate for header in headers if header is not None)
    if not counts:
        first: Raw = next(iter(jobs[0].lot.raws))
        try:
            read_sound(first, jobs[0].lot.place(0))
        except FaultError as fault:
            raise InputError(f"no {AUDIO.one} can be used; the first: {fault}") from None
    return max(counts, key=lambda rate: (counts[rate], rate))
