"""The tab that goes through a flow part by part, from noise to data."""

from collections.abc import Callable
from functools import lru_cache

from caudal.explore.controls import Choice, Control, Slider, Tab, Whole
from caudal.explore.subject import Subject
from caudal.report.page import Block

FILM, FILMS = "as a film", 4  # how many films and walks, of seeds, are kept
PLANE = (
    "The flow is a chain of simple maps, each of which can be undone. Colours stay with the "
    "points: they say where in the noise a point began. Rings are noise of equal density. Watch "
    "the film, or go through it by hand with the slider."
)
STRIP = (
    "The flow is a chain of simple maps, each of which can be undone. From the left to the right: "
    "noise, what some of the parts make of it, and the data. Each column has a scale of greys of "
    "its own."
)
NOISY = " The flow has learned {many} with noise, which is taken off in the last column."


def layers(subject: Subject) -> Tab | None:
    """How noise becomes data, from part to part."""
    guide, flow, schema = subject.guide, subject.model.flow, subject.schema
    if not (last := guide.layers(flow, schema)):
        return None
    stops = guide.stops(schema)

    @lru_cache(FILMS)
    def film(seed: int) -> tuple[Block, ...]:
        return tuple(guide.film(flow, schema, seed))

    @lru_cache(FILMS)
    def walk(seed: int) -> Callable[[float], list[Block]]:
        return guide.walk(flow, schema, seed)

    def act(seed: int, how: str = FILM, at: float = 0.0) -> list[Block]:
        if how == FILM:
            return list(film(int(seed)))
        return walk(int(seed))(float(at))

    intro = PLANE if stops else STRIP
    if guide.is_noisy(schema):
        intro += NOISY.format(many=schema.many)
    controls: list[Control] = [Whole("seed", "Seed", 0)]
    if stops:
        at = Slider("at", f"By hand: after so many of {last} parts", 0.0, last, 0.0, 0.1)
        controls = [Choice("how", "Show", [FILM, "by hand"], FILM), at, *controls]
    return Tab("Layer by layer", intro, controls, act)
