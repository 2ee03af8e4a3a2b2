"""`--preset`: a paper's configuration as words that stand before the user's own."""

import inspect

from caudal.cli.options import TrainOptions, as_flags, plain_fields
from caudal.data.names import near
from caudal.errors import InputError
from caudal.recipes.presets import PRESETS, Preset


def find_preset(recipe: str, name: str) -> Preset:
    """The preset of that name.

    Raises:
        InputError: the recipe has none of that name.
    """
    known = PRESETS.get(recipe, {})
    if not known:
        raise InputError(f"--preset {name}: {recipe} has no presets, {', '.join(PRESETS)} do")
    if name not in known:
        raise InputError(
            f"--preset {name}: {recipe} has none of that name; {near(name, [*known])}"
        )
    return known[name]


def preset_words(preset: Preset) -> list[str]:
    """All that a preset says, also what is the default anyway: it overrides a --config."""
    values = {**plain_fields(preset.recipe), **preset.training, **preset.images}
    return as_flags(values, {})


def describe(recipe: str) -> str:
    """What the help of a recipe begins with, its presets among it."""
    text = inspect.cleandoc(TrainOptions.__doc__ or "")
    if recipe not in PRESETS:
        return text
    lines = [f"{name}: {tell(preset)}" for name, preset in PRESETS[recipe].items()]
    return "\n\n".join([text, "Presets:\n" + "\n".join(f"- {line}" for line in lines)])


def tell(preset: Preset) -> str:
    """A preset in a line."""
    note = f"; {preset.note}" if preset.note else ""
    return (
        f"{preset.size}, {preset.parameters:,} parameters, {preset.bits_per_dim:.2f} bits/dim in "
        f"the paper{note}"
    )
