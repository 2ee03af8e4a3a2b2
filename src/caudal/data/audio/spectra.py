"""Spectra from elsewhere: from their files to frames of a model, where that is exact."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from caudal.data.audio.convention import Convention, Log, convention_of
from caudal.data.audio.mel import filters
from caudal.data.audio.schema import AudioSchema
from caudal.data.files.lots import natural
from caudal.data.refusals import BROKEN
from caudal.data.unpacked import check_arrays
from caudal.errors import InputError, one_line

_SUFFIXES = (".npy", ".npz")
_SLACK = 0.01  # in units of a logarithm
_BEYOND = 2.0  # how far spectra of a front end may leave the range of sounds
_FACTS = {
    "rate": ("rate", "sample_rate", "sampling_rate", "sr"),
    "hop": ("hop", "hop_length", "hop_size"),
    "window": ("window", "win_length", "win_size", "n_fft"),
    "low": ("low", "fmin", "f_min"),
    "high": ("high", "fmax", "f_max"),
}
"""What an .npz file may say of its spectra, under the names that are usual."""


class Frames(NamedTuple):
    """A spectrum as a model takes it: its name, and natural logarithms, float32 (mels, F)."""

    name: str
    log_mel: Tensor


@dataclass(frozen=True)
class Written:
    """How spectra were written that are brought to a model.

    Attributes:
        convention: of their bands, logarithms and frames.
        hop: samples a frame.
    """

    convention: Convention
    hop: int

    @classmethod
    def of(
        cls, schema: AudioSchema, name: str | None, hop: int | None, log: Log | None
    ) -> "Written":
        """Spectra written as the model's own are, except for what is given here."""
        made = schema.convention if name is None else convention_of(name)
        made = made if log is None else replace(made, log=log)
        return cls(made, schema.hop if hop is None else hop)


def finds_spectra(data: Any) -> bool:
    """Whether `data` is a file or a folder of spectra, an array, or a list of arrays."""
    if isinstance(data, str | os.PathLike):
        return bool(_files(Path(data)))
    if isinstance(data, list):
        return bool(data) and all(map(_is_array, data))
    return _is_array(data)


def read_spectra(data: Any, schema: AudioSchema, written: Written) -> list[Frames]:
    """Spectra (mels, F) of .npy or .npz files, or arrays, as a model takes them.

    Args:
        data: a file, or a folder of files; an array (mels, F), or (N, mels, F); or arrays.
        schema: of the model.
        written: how they were written.

    Raises:
        InputError: they do not fit the model, or cannot be brought to it exactly.
    """
    if written.hop < 1:
        raise InputError(f"`mel_hop` {written.hop}: must be at least 1")
    return [
        Frames(name, bring(values, schema, written, place))
        for name, values, place in _arrays(data, schema)
    ]


def bring(values: np.ndarray, schema: AudioSchema, written: Written, place: str) -> Tensor:
    """One spectrum (mels, F), whose F may become fewer frames of the model's hop.

    The base of logarithms and a lower floor are brought over, and a hop that divides the model's
    where the middles of frames meet.

    Raises:
        InputError: the spectrum does not fit, or does not determine the model's own; names
            `place`.
    """
    _check_shape(values, schema, place)
    of, to = written.convention, schema.convention
    _check_bands(of, to, schema, place)
    logs = torch.from_numpy(np.ascontiguousarray(values, np.float64)) / of.unit
    _check_range(logs, values, schema, of, place)
    at_floor = logs <= np.log(of.floor) + _SLACK
    floor = float(np.log(to.floor))
    if bool((logs[at_floor] > floor + _SLACK).any()):
        raise InputError(
            f"{place}: its floor, {of.floor:g}, hides what is between it and the model's, "
            f"{to.floor:g}: make it with the lower floor"
        )
    return logs.clamp_min(floor)[:, _frames(logs.shape[1], schema, written, place)].float()


def _check_shape(values: np.ndarray, schema: AudioSchema, place: str) -> None:
    shape = "x".join(map(str, values.shape))
    if values.ndim != 2 or values.dtype.kind not in "fiu":
        raise InputError(f"{place}: {shape} {values.dtype}: give numbers (bands, frames)")
    if values.shape[0] != schema.mels:
        turned = values.shape[1] == schema.mels
        advice = "transpose it" if turned else f"make it of {schema.mels} bands"
        raise InputError(
            f"{place} has {values.shape[0]} bands in {values.shape[1]} frames, the model "
            f"{schema.mels} bands: {advice}"
        )
    if values.shape[1] < 1 or not np.isfinite(values).all():
        what = "values that are not finite" if values.shape[1] else "no frames"
        raise InputError(f"{place} has {what}: make it anew")


def _check_bands(of: Convention, to: Convention, schema: AudioSchema, place: str) -> None:
    """Refuses bands that are not the model's: neither follows from the other."""
    ends = [convention.ends(schema.rate) for convention in (of, to)]
    facts = (
        ("bands between {} Hz", *(f"{low:g} and {high:g}" for low, high in ends)),
        ("bands on the scale of {}", of.scale, to.scale),
        ("bands of equal {}", *("areas" if c.norm == "area" else "peaks" for c in (of, to))),
        ("bands of {}", *("power" if c.power == 2 else "magnitudes" for c in (of, to))),
        ("{} bands", *("widened" if c.widened else "plain" for c in (of, to))),
    )
    for words, theirs, ours in facts:
        # Bands that no bin is too wide for are the same either way.
        same = theirs == ours or (words == facts[-1][0] and _alike(schema))
        if not same:
            raise InputError(
                f"{place} has {words.format(theirs)}, the model {words.format(ours)}: make it in "
                f"the model's convention, or train with that of the spectra (`mel_convention`)"
            )


def _alike(schema: AudioSchema) -> bool:
    """Whether widening changes no band."""
    made = [replace(schema.convention, widened=widened) for widened in (False, True)]
    one, two = (filters(schema.rate, schema.window, schema.mels, each) for each in made)
    return torch.equal(one, two)


def _check_range(
    logs: Tensor, values: np.ndarray, schema: AudioSchema, of: Convention, place: str
) -> None:
    """Refuses numbers that no sound has in this convention."""
    loudest = filters(schema.rate, schema.window, schema.mels, of).sum(0).max()
    top = float(np.log(float(loudest) * (schema.window / 2) ** of.power))
    low = float(np.log(of.floor))
    if low - _BEYOND <= float(logs.min()) and float(logs.max()) <= top + _BEYOND:
        return
    raise InputError(
        f"{place} has values from {values.min():.4g} to {values.max():.4g}, and {of.words} lie "
        f"from {low * of.unit:.4g} to {top * of.unit:.4g}: say how it was made (`mel_log`, "
        f"`mel_convention`)"
    )


def _frames(count: int, schema: AudioSchema, written: Written, place: str) -> slice:
    """Which of `count` frames have their middles where frames of the model have theirs.

    Raises:
        InputError: none have.
    """
    hop, to = written.hop, schema.hop
    off = schema.convention.middle(to) - written.convention.middle(hop)
    if to % hop or off % hop or off < 0:
        raise InputError(
            f"{place} has frames every {hop} samples, the model every {to}, and their middles do "
            f"not meet: make it with a hop of {to}, or train with its hop and convention"
        )
    first, step = off // hop, to // hop
    if first >= count:
        raise InputError(f"{place} has {count} frames of {hop} samples: too few for one of {to}")
    return slice(first, None, step)


# --- where they come from ------------------------------------------------------------------------


def _arrays(data: Any, schema: AudioSchema) -> Iterator[tuple[str, np.ndarray, str]]:
    """Name, values and place of each spectrum."""
    if isinstance(data, str | os.PathLike):
        for path in _files(Path(data)):
            yield from _in_file(path, schema)
        return
    each = data if isinstance(data, list) else _split(np.asarray(data))
    for number, values in enumerate(each, 1):
        yield f"{number:04}", np.asarray(values), f"spectrum {number}"


def _files(path: Path) -> list[Path]:
    """The file of spectra that `path` is, or those of the folder, in their natural order."""
    if path.is_dir():
        inside = (file for file in path.iterdir() if file.suffix.casefold() in _SUFFIXES)
        return sorted(inside, key=lambda file: natural(file.name))
    return [path] if path.suffix.casefold() in _SUFFIXES else []


def _in_file(path: Path, schema: AudioSchema) -> Iterator[tuple[str, np.ndarray, str]]:
    try:
        check_arrays(path, str(path))
        with path.open("rb") as file:
            loaded = np.load(file, allow_pickle=False)
            arrays = {path.stem: loaded} if isinstance(loaded, np.ndarray) else dict(loaded)
    except FileNotFoundError:
        raise InputError(f"no file {path}") from None
    except InputError:
        raise
    except BROKEN as error:
        raise InputError(f"{path} cannot be read as an array: {one_line(error)}") from None
    _check_facts(arrays, schema, str(path))
    spectra = {name: array for name, array in arrays.items() if array.ndim in (2, 3)}
    if not spectra:
        raise InputError(f"{path} holds no spectrum: give an array (bands, frames)")
    for name, array in spectra.items():
        place = str(path) if len(spectra) == 1 else f"{path}, {name}"
        parts = _split(array)
        for number, values in enumerate(parts, 1):
            title = path.stem if len(spectra) == 1 else name
            title += f"_{number:04}" if len(parts) > 1 else ""
            yield title, values, place + (f", spectrum {number}" if len(parts) > 1 else "")


def _check_facts(arrays: Mapping[str, np.ndarray], schema: AudioSchema, place: str) -> None:
    """Refuses a file that says of itself what the model's spectra are not."""
    low, high = schema.convention.ends(schema.rate)
    ours = {"rate": schema.rate, "window": schema.window, "low": low, "high": high}
    for fact, own in ours.items():
        for name in _FACTS[fact]:
            value = arrays.get(name)
            if value is not None and value.ndim == 0 and float(value) != own:
                raise InputError(
                    f"{place} says {name} {float(value):g}, and the model has {own:g}: make it "
                    f"with that"
                )


def hop_in(data: Any) -> int | None:
    """The hop that an .npz file says it has; None where nothing says one."""
    if not isinstance(data, str | os.PathLike) or Path(data).suffix.casefold() != ".npz":
        return None
    try:
        with np.load(data, allow_pickle=False) as arrays:
            hops = [arrays[name] for name in _FACTS["hop"] if name in arrays.files]
    except BROKEN:
        return None  # it is refused when it is read
    return int(hops[0]) if hops and hops[0].ndim == 0 else None


def _split(array: np.ndarray) -> Sequence[np.ndarray]:
    """One spectrum (mels, F), or several (N, mels, F)."""
    return list(array) if array.ndim == 3 else [array]


def _is_array(data: Any) -> bool:
    return hasattr(data, "__array__") and np.ndim(data) in (2, 3)
