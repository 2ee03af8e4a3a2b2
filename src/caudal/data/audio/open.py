"""From what `--data` names to training, validation and test clips."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from caudal.data.audio.clips import Clips
from caudal.data.audio.dataset import AudioDataset
from caudal.data.audio.faults import FaultError
from caudal.data.audio.fill import Filler
from caudal.data.audio.form import Header, read_header, read_sound
from caudal.data.audio.labels import check_labels, make_column
from caudal.data.audio.locate import find_audio
from caudal.data.audio.place import no_clips, place
from caudal.data.audio.recordings import Found, Recording
from caudal.data.audio.schema import AudioSchema
from caudal.data.audio.wanted import (
    check_rate,
    check_window,
    crop_of,
    read_context,
    window_of,
    with_labels,
)
from caudal.data.images.fill import Progress
from caudal.data.images.open import CORRUPT
from caudal.data.splits import TEST, TRAIN, VALID, check_fractions
from caudal.errors import InputError

_MEMORY = 1 << 30


def open_audio(
    data: Any,
    *,
    rate: int | None = None,
    seconds: float = 0.5,
    hop: int = 128,
    mels: int = 64,
    window: int | None = None,
    trim: bool = True,
    normalize: bool = True,
    context: Sequence[str] = ("mel",),
    labels: str | None = None,
    metadata: str | None = None,
    corrupt: str = "refuse",
    valid: Any = None,
    test: Any = None,
    split: Sequence[float] = (0.8, 0.1, 0.1),
    seed: int = 0,
    schema: AudioSchema | None = None,
    memory: int = _MEMORY,
    progress: Progress | None = None,
) -> AudioDataset:
    """Opens recordings, makes clips of one kind of them, and splits them into three parts.

    Args:
        data: a folder of audio files, one such file, or the built-in "vowels".
        rate: samples a second; that of most files if None. Others are resampled.
        seconds: of a training row.
        hop: samples a frame of the context.
        mels: bands of the log-mel spectrum, where that is in `context`.
        window: samples of its window; the power of two nearest to 46 ms if None.
        trim: cut off silence at both ends.
        normalize: scale each clip to a peak of 0.95.
        context: what to condition on: "mel", and names of labels; or "none".
        labels: a pattern of the names of files, such as `{digit}_{speaker}_{index}`.
        metadata: a table with a row for each file, whose columns are labels.
        corrupt: "refuse" or "skip" files that cannot be used.
        valid: validation clips: another source, or a pattern such as `*_0.wav` of names in `data`.
        test: test clips, the same.
        split: shares of training, validation and test clips, of parts that there are not.
        seed: of the split.
        schema: of a finished run; then `rate` to `normalize` and `context` are its.
        memory: bytes above which clips are decoded from their files as they are needed.
        progress: given what is gone through and how many clips it is, gives the same back.

    Raises:
        InputError: anything that makes the audio unusable, with file and advice.
    """
    check_corrupt(corrupt)
    check_rate(rate)
    fractions = check_fractions(split)
    names, bands = read_context(context, mels)
    if schema is not None:
        names = tuple(column.name for column in schema.context)

    def prepare(found: Found) -> Found:
        return with_labels(found, labels, metadata, names)

    main = prepare(find_audio(data))
    parts, more = place(main, valid, test, fractions, seed, prepare)
    headers = [read_header(recording) for some in parts.values() for recording in some]
    if schema is None:
        rate = rate or _common_rate(headers, main.recordings)
        columns = tuple(make_column(name, parts[TRAIN]) for name in names)
        crop = crop_of(seconds, rate, hop)
        frame = window_of(rate) if window is None else window
        check_window(frame, bands, rate)
        schema = AudioSchema(rate, crop, hop, bands, frame, trim, normalize, context=columns)
    for some in parts.values():
        check_labels(some, schema.context)
    clips, notes = Filler(schema, corrupt, memory, progress).fill(parts)
    for part in parts:
        if part not in clips:
            raise no_clips(main, part)
    _check_crop(clips, schema)
    said = (*main.notes, *more, *_changes(headers, schema), *notes, *_padded(clips, schema))
    return AudioDataset(main.name, schema, clips[TRAIN], clips[VALID], clips[TEST], said)


def open_clips(
    data: Any,
    schema: AudioSchema,
    *,
    labels: str | None = None,
    metadata: str | None = None,
    given: Mapping[str, Any] | None = None,
    corrupt: str = "refuse",
    memory: int = _MEMORY,
    progress: Progress | None = None,
) -> tuple[Clips, tuple[str, ...]]:
    """All clips of a source, of every part, made what the schema of a finished run says; notes.

    Args:
        data: as for `open_audio`.
        schema: of the run; where it is conditioned on labels, so are these clips.
        labels: as for `open_audio`.
        metadata: as for `open_audio`.
        given: labels that all clips have, whatever their names or a table say.
        corrupt: "refuse" or "skip" files that cannot be used.
        memory: bytes above which clips are decoded from their files as they are needed.
        progress: as for `open_audio`.

    Raises:
        InputError: the clips do not fit the schema, or cannot be read.
    """
    check_corrupt(corrupt)
    names = tuple(column.name for column in schema.context)
    found = with_labels(find_audio(data), labels, metadata, names, given)
    every = sorted(found.recordings, key=lambda recording: recording.number)
    check_labels(every, schema.context)
    headers = [read_header(recording) for recording in every]
    clips, notes = Filler(schema, corrupt, memory, progress).fill({TRAIN: every})
    return clips[TRAIN], (*found.notes, *_changes(headers, schema), *notes)


def check_corrupt(corrupt: str) -> None:
    """Refuses other ways to treat files that cannot be used.

    Raises:
        InputError: says which there are.
    """
    if corrupt not in CORRUPT:
        raise InputError(f"--corrupt {corrupt}: choose one of {', '.join(CORRUPT)}")


def _common_rate(headers: Sequence[Header | None], recordings: Sequence[Recording]) -> int:
    """The rate of most files, the higher one on a draw."""
    counts = Counter(header.rate for header in headers if header is not None)
    if not counts:
        try:
            read_sound(recordings[0])
        except FaultError as fault:
            raise InputError(f"no file can be used; the first: {fault}") from None
    return max(counts, key=lambda rate: (counts[rate], rate))


def _changes(headers: Sequence[Header | None], schema: AudioSchema) -> list[str]:
    """Notes on files of another rate, and of several channels."""
    known = [header for header in headers if header is not None]
    others = sum(header.rate != schema.rate for header in known)
    several = sum(header.channels > 1 for header in known)
    notes = []
    if others:
        notes.append(f"resampled {others} of {len(headers)} clips to {schema.rate} Hz")
    if several:
        notes.append(f"averaged the channels of {several} of {len(headers)} clips")
    return notes


def _check_crop(clips: dict[int, Clips], schema: AudioSchema) -> None:
    """Refuses crops that are mostly silence, however long the clip."""
    longest = max(max(some.lengths) for some in clips.values())
    if schema.crop > 2 * longest and schema.crop > schema.hop:
        raise InputError(
            f"--seconds {schema.crop / schema.rate:g}: the longest clip has "
            f"{longest / schema.rate:.3g} s: give no more than that"
        )


def _padded(clips: dict[int, Clips], schema: AudioSchema) -> list[str]:
    count = sum(some.n_padded for some in clips.values())
    total = sum(len(some.lengths) for some in clips.values())
    if not count:
        return []
    return [
        f"{count} of {total} clips are shorter than the {schema.crop / schema.rate:g} s of a "
        f"training row, and followed by silence there: a smaller --seconds avoids it"
    ]
