"""New clips out of a run: sound for a spectrum, for labels, or out of nothing."""

import math
import time
from collections.abc import Iterator, Sequence
from itertools import cycle, islice
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from caudal.cli.contexts import fixed_values
from caudal.cli.opened import OpenedRun
from caudal.cli.opened_audio import audio_dataset, other_clips
from caudal.cli.output import open_audio_output
from caudal.cli.screen import Screen
from caudal.data.audio import Clips
from caudal.errors import InputError
from caudal.report.gaussian import noise
from caudal.report.story import duration

if TYPE_CHECKING:
    from caudal.cli.sample import SampleOptions

SECONDS = 1.0
"""Length of clips that no spectrum gives one."""
FEW, MORE = 16, 144  # samples of brief draws that tell how fast a flow is
SHORT, LONG = 4000, 10.0  # samples that are no matter; seconds that should be told


class Wanted(NamedTuple):
    """A clip to be drawn: its name, samples, and context (C, F)."""

    name: str
    length: int
    context: Tensor | None


def run(options: "SampleOptions", opened: OpenedRun, screen: Screen) -> int:
    """Draws them and says so."""
    if options.exact is not None or options.context_file is not None:
        flag = "exact" if options.exact is not None else "context-file"
        raise InputError(f"--{flag} is for tables, and {options.run} models audio: leave it out")
    wanted = list(_wanted(opened, options, screen))
    writer = open_audio_output(options.out, options.overwrite, opened.audio.rate)
    writer.check(len(wanted))
    if opened.recipe.samples == "sequential" and not options.sweeps:
        _foresee(opened, wanted, screen)
    clips = []
    generator = noise(opened.flow, options.seed)
    for one in screen.track(wanted, "sampling", len(wanted)):
        clips.append(opened.audio.decode(_draw(opened, one, options.temperature, generator))[0])
    with writer:
        writer.write(clips, [one.name for one in wanted])
    total = sum(one.length for one in wanted) / opened.audio.rate
    clip = "clip" if len(wanted) == 1 else "clips"
    screen.say(
        f"{options.out}: {len(wanted):,} {clip}, {duration(total)} of sound, sampled from "
        f"{options.run} (seed {options.seed})"
    )
    if options.temperature != 1:
        screen.warn(f"at temperature {options.temperature:g} these are no samples of the density")
    screen.result(
        {"out": options.out, "clips": len(wanted), "seconds": total, "seed": options.seed}
    )
    return 0


def _foresee(opened: OpenedRun, wanted: Sequence[Wanted], screen: Screen) -> None:
    """Says beforehand how long it takes, where that is long; a brief draw tells."""
    total, one = sum(clip.length for clip in wanted), wanted[0]
    if total < SHORT:
        return
    took = []
    for length in (FEW, FEW, MORE):  # the first may compile; all have a start
        context = one.context
        if context is not None:
            context = context[:, : opened.audio.frames(length)]
        start = time.perf_counter()
        _draw(opened, Wanted(one.name, length, context), 1.0, noise(opened.flow, 0))
        took.append(time.perf_counter() - start)
    speed = (MORE - FEW) / max(took[2] - took[1], 1e-6)
    if (seconds := total / speed) > LONG:
        screen.say(
            f"{total:,} samples, one after the other at about {speed:,.0f} a second: "
            f"{duration(seconds)}"
        )


def _draw(
    opened: OpenedRun, wanted: Wanted, temperature: float, generator: torch.Generator
) -> Tensor:
    context = None if wanted.context is None else wanted.context[None].to(opened.flow.base.like)
    return opened.flow.sample(1, context, temperature, generator, length=wanted.length)


def _wanted(opened: OpenedRun, options: "SampleOptions", screen: Screen) -> Iterator[Wanted]:
    """What to draw: copies of clips where a spectrum is needed, else clips given labels."""
    schema = opened.audio
    fixed = fixed_values(opened, options.given)
    if schema.mels:
        if options.seconds is not None:
            raise InputError(
                f"--seconds: {options.run} is given a spectrum, which says how long a clip is"
            )
        clips = _clips(opened, options, fixed, screen)
        n = options.n if options.n is not None else (len(clips.names) if options.mel_of else 1)
        for index in islice(cycle(range(len(clips.names))), n):
            name, x, context = clips.clip(index)
            yield Wanted(name, x.shape[-1], _with(context, fixed, opened))
        return
    if options.mel_of is not None:
        raise InputError(f"--mel-of: {options.run} was not given a spectrum, so it copies none")
    length = max(1, round((options.seconds or SECONDS) * schema.rate))
    rows = _labels(opened, fixed, screen)
    for index in range(options.n or 1):
        yield Wanted(f"{index + 1:04}", length, next(rows))


def _clips(
    opened: OpenedRun, options: "SampleOptions", fixed: dict[str, float], screen: Screen
) -> Clips:
    """The clips to copy: those of --mel-of, or the test clips of the run."""
    if options.mel_of is None:
        return audio_dataset(opened, screen, "give a file or a folder with --mel-of").test
    clips, notes = other_clips(opened, options.mel_of, "refuse", screen, fixed)
    for note in notes:
        screen.warn(note)
    return clips


def _labels(opened: OpenedRun, fixed: dict[str, float], screen: Screen) -> Iterator[Tensor | None]:
    """Labels of the training clips in turn, with what `fixed` says; None without any."""
    names = [column.name for column in opened.audio.context]
    if not names:
        return iter(lambda: None, 0)
    if len(fixed) == len(names):
        values = torch.tensor([[fixed[name]] for name in names])
        return cycle([values])
    clips = audio_dataset(opened, screen, "give all labels with --given").train
    every = (clips.clip(index).context for index in cycle(range(len(clips.names))))
    return (_with(context, fixed, opened) for context in every)


def _with(context: Tensor | None, fixed: dict[str, float], opened: OpenedRun) -> Tensor | None:
    """The context with the labels that are fixed."""
    if context is None or not fixed:
        return context
    context = context.clone()
    for index, column in enumerate(opened.audio.context):
        if column.name in fixed:
            context[index] = fixed[column.name]
    return context


def check_numbers(options: "SampleOptions") -> None:
    """Refuses what no clip can be.

    Raises:
        InputError: names the flag.
    """
    if options.seconds is not None and not 0 < options.seconds < math.inf:
        raise InputError(f"--seconds {options.seconds}: must be a positive number")
