"""What the user's options mean for clips: context, crops, windows, rates."""

import math
from collections.abc import Sequence

from caudal.data.names import check_once
from caudal.errors import InputError

MEL, NONE = "mel", "none"
RESERVED = (MEL, NONE)
"""Words in the context that are no names of labels."""
_WINDOW = 0.046  # seconds
_FEWEST = 16  # samples of a window
_SLOWEST = 1000  # Hz: a lower number was meant in kHz


def read_context(context: Sequence[str], mels: int) -> tuple[tuple[str, ...], int]:
    """The labels to condition on, and how many bands.

    Raises:
        InputError: a name is there twice, "none" is not alone, or the spectrum has no bands.
    """
    check_once("context", context)
    if NONE in context and len(context) > 1:
        raise InputError(f"`context` {' '.join(context)}: 'none' goes alone")
    if MEL in context and mels < 1:
        raise InputError(f"`mels` {mels}: 'mel' in `context` needs at least 1 band")
    return tuple(c for c in context if c not in (MEL, NONE)), mels if MEL in context else 0


def crop_of(seconds: float, rate: int, hop: int) -> int:
    """Samples of a training row, which has whole frames and at least one.

    Raises:
        InputError: names the option.
    """
    if not (math.isfinite(seconds) and seconds > 0):
        raise InputError(f"`seconds` {seconds:g}: must be above 0")
    if hop < 1:
        raise InputError(f"`hop` {hop}: must be at least 1")
    if hop > seconds * rate:
        raise InputError(
            f"`hop` {hop}: crops of {seconds:g} s have {seconds * rate:.0f} samples at {rate} Hz: "
            f"give a smaller `hop`, or more `seconds`"
        )
    return round(seconds * rate / hop) * hop


def window_of(rate: int) -> int:
    """The power of two nearest to 46 ms."""
    return int(2 ** round(math.log2(_WINDOW * rate)))


def check_window(window: int, bands: int, rate: int) -> None:
    """Refuses a window that gives no spectrum, and more bands than it has frequencies."""
    if bands and not _FEWEST <= window <= rate:
        raise InputError(f"`window` {window}: give {_FEWEST} to {rate} samples, a second at most")
    if bands > window // 2 + 1:
        raise InputError(
            f"`mels` {bands}: a window of {window} samples tells {window // 2 + 1} frequencies "
            f"apart: give fewer bands, or a longer `window`"
        )


def check_rate(rate: int | None) -> None:
    """Refuses a rate that no audio has."""
    if rate is not None and rate < _SLOWEST:
        raise InputError(f"`rate` {rate}: give samples a second, such as 16000")
