"""`--preset`: a paper's configuration as words that stand before the user's own."""

import inspect

from caudal.cli.options import TrainOptions, as_flags, plain_fields
from caudal.errors import InputError
from caudal.names import near
from caudal.recipes import RECIPES
from caudal.recipes.presets import PRESETS, Preset


def find_preset(recipe: str, name: str) -> Preset:
    """The preset of that name.

    Raises:
        InputError: the recipe has none of that name.
    """
    known = PRESETS.get(recipe, {})
    if not known:
        raise InputError(f"`preset` {name}: {recipe} has no presets, {', '.join(PRESETS)} do")
    if name not in known:
        raise InputError(
            f"`preset` {name}: {recipe} has none of that name; {near(name, [*known])}"
        )
    return known[name]


def preset_words(recipe: str, preset: Preset) -> list[str]:
    """All options of a preset, the recipe's defaults too: they override a --config."""
    fields = plain_fields(RECIPES[recipe](**preset.fields))
    return as_flags({**fields, **preset.training, **preset.options}, {})


def describe(recipe: str) -> str:
    """The beginning of a recipe's help, which lists its presets."""
    text = inspect.cleandoc(TrainOptions.__doc__ or "")
    if recipe not in PRESETS:
        return text
    lines = [f"{name}: {preset}" for name, preset in PRESETS[recipe].items()]
    return "\n\n".join([text, "Presets:\n" + "\n".join(f"- {line}" for line in lines)])
