"""`--preset`: a paper's configuration as words that stand before the user's own."""

import inspect
from collections.abc import Mapping

from caudal.cli.options import TrainOptions, as_flags, plain_fields
from caudal.data.names import near
from caudal.errors import InputError
from caudal.recipes.audio_presets import AUDIO_PRESETS, AudioPreset
from caudal.recipes.presets import PRESETS, Preset

EVERY: Mapping[str, Mapping[str, Preset | AudioPreset]] = {**PRESETS, **AUDIO_PRESETS}


def find_preset(recipe: str, name: str) -> Preset | AudioPreset:
    """The preset of that name.

    Raises:
        InputError: the recipe has none of that name.
    """
    known = EVERY.get(recipe, {})
    if not known:
        raise InputError(f"--preset {name}: {recipe} has no presets, {', '.join(EVERY)} do")
    if name not in known:
        raise InputError(
            f"--preset {name}: {recipe} has none of that name; {near(name, [*known])}"
        )
    return known[name]


def preset_words(preset: Preset | AudioPreset) -> list[str]:
    """All that a preset says, also what is the default anyway: it overrides a --config."""
    values = {**plain_fields(preset.recipe), **preset.training, **preset.options}
    return as_flags(values, {})


def describe(recipe: str) -> str:
    """What the help of a recipe begins with, its presets among it."""
    text = inspect.cleandoc(TrainOptions.__doc__ or "")
    if recipe not in EVERY:
        return text
    lines = [f"{name}: {preset}" for name, preset in EVERY[recipe].items()]
    return "\n\n".join([text, "Presets:\n" + "\n".join(f"- {line}" for line in lines)])
