"""`caudal recipes`: the flows there are."""

from collections.abc import Iterator
from dataclasses import dataclass

from tyro.conf import FlagCreatePairsOff

from caudal.cli.parse import parse
from caudal.cli.presets import EVERY
from caudal.cli.preview import way
from caudal.cli.screen import Screen
from caudal.recipes import RECIPES
from caudal.recipes.audio_presets import AUDIO_PRESETS
from caudal.recipes.presets import PRESETS


@dataclass(frozen=True)
class RecipesOptions:
    """Lists the flows there are, with their papers, and which of their directions is fast."""

    json: FlagCreatePairsOff[bool] = False
    """Print the list as one JSON object on standard output."""


def run(words: list[str]) -> int:
    """Runs the command."""
    options = parse(RecipesOptions, words, "caudal recipes")
    screen = Screen(options.json)
    facts = ("year", "scores", "samples", "good_for", "paper")
    found = {name: {fact: getattr(r, fact) for fact in facts} for name, r in RECIPES.items()}
    rows = [
        [name, r.year, way(r, r.scores), way(r, r.samples), r.good_for, r.paper]
        for name, r in RECIPES.items()
    ]
    if not options.json:
        screen.table(["recipe", "year", "density", "samples", "good for", "paper"], rows, " n")
        screen.say("the papers' configurations of images: caudal train RECIPE --preset NAME")
        head = ["recipe", "preset", "images", "parameters", "bits/dim in the paper", ""]
        screen.table(head, list(_presets()), "   nn")
        screen.say("the same of sound, whose papers report no likelihoods:")
        head = ["recipe", "preset", "sound", "parameters", ""]
        screen.table(head, list(_audio_presets()), "   n")
        screen.say("caudal train RECIPE --help tells the options of each.")
    screen.result({"recipes": found, "presets": {name: list(p) for name, p in EVERY.items()}})
    return 0


def _presets() -> Iterator[list[str]]:
    """A row for each preset."""
    for recipe, presets in PRESETS.items():
        for name, p in presets.items():
            yield [recipe, name, p.size, f"{p.parameters:,}", f"{p.bits_per_dim:.2f}", p.note]


def _audio_presets() -> Iterator[list[str]]:
    """The same of sound."""
    for recipe, presets in AUDIO_PRESETS.items():
        for name, p in presets.items():
            yield [recipe, name, p.size, f"{p.parameters:,}", p.note]
