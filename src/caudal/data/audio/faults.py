"""What can be wrong with a recording."""

import numpy as np

from caudal.errors import InputError

_SILENT = 1e-4  # of full scale: -80 dB
_FULL, _RUN, _MUCH = 0.999, 3, 0.01
_BEYOND = 2.0  # MP3 and resampling overshoot full scale a little, and that is no fault


class FaultError(InputError):
    """A recording that cannot be used.

    Args:
        place: what it is called.
        what: is wrong with it.
        advice: what to do.
    """

    def __init__(self, place: str, what: str, advice: str) -> None:
        super().__init__(f"{place} {what}: {advice}; --corrupt skip leaves such files out")
        self.short = f"{place} {what}"


def check_samples(samples: np.ndarray, place: str, scaled: bool) -> None:
    """Refuses amplitudes (T, channels) that are no recording, or a damaged one.

    Raises:
        FaultError: not finite, silent, clipped, or out of scale where clips are not `scaled`.
    """
    if not np.isfinite(samples).all():
        raise FaultError(place, "has samples that are NaN or infinite", "export it anew")
    peak = float(np.abs(samples).max(initial=0.0))
    if len(samples) and (peak < _SILENT or (samples == samples[0]).all()):
        raise FaultError(place, "is silent", "remove it")
    if peak > _BEYOND and not scaled:
        raise FaultError(place, f"peaks at {peak:g} times full scale", "scale it to -1 .. 1")
    share = max((clipped_share(channel) for channel in samples.T), default=0.0)
    if share > _MUCH:
        what = f"is clipped in {share:.0%} of its samples"
        raise FaultError(place, what, "record or export it at a lower level")


def clipped_share(samples: np.ndarray) -> float:
    """The share of samples (T,) in runs of three or more equal ones at full scale."""
    if len(samples) < _RUN or np.abs(samples).max() < _FULL:
        return 0.0
    full = np.abs(samples) >= _FULL
    equal = (samples[1:] == samples[:-1]) & full[1:]
    inner = equal[1:] & equal[:-1]  # the last of three equal ones
    held = np.zeros(len(samples), bool)
    for shift in range(_RUN):
        held[shift : shift + len(inner)] |= inner
    return float(held.mean())
