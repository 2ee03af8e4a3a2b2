"""Tabs of the noise behind items: of one item, between four, and between two classes."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from caudal.errors import InputError
from caudal.explore.controls import Choice, Control, Slider, Tab, Whole
from caudal.explore.subject import SEED, Subject
from caudal.interpolation import coefficients, direction, interpolate
from caudal.report import unlike
from caudal.report.guide import Side
from caudal.report.numbers import number
from caudal.report.page import Block

OFF, LEFT = "taken off", "left on"
STEPS = (-1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 2.0)
CORNERS = ("z1", "z2", "z3", "z4")
DIRECTIONS = 100  # between two classes, that are kept
ONE = (
    "A flow goes both ways. A test {one} x becomes noise z = f⁻¹(x), which looks like any other "
    "noise, and f(z) is the {one} again. Scale the noise: at 0 it is the centre of the "
    "distribution, at 1 the {one} itself, beyond it everything unusual about it grows."
)
FOUR = (
    "Between four {many}: z = cos φ (z1 cos φ' + z2 sin φ') + sin φ (z3 cos φ' + z4 sin φ'). "
    "At the ends of the two sliders stand the four; everything between is new, and as likely as "
    "any sample, as the length of the noise is kept."
)
CLASSES = (
    "The noise of one test {one}, decoded as each {label}. What the {label} says is not in the "
    "noise: what is left there is everything else, as a hand or a style."
)
EDIT = (
    "The mean noise of one class less that of another is a direction. Going along it from a test "
    "{one} keeps what else it is, and changes its class."
)
GRAIN = (
    " The flow has learned {many} with noise, which can be taken off what it makes, or left on: "
    "then test {many} come back as they are."
)


def noise(subject: Subject) -> Tab | None:
    """One item, its noise, and what the flow makes of more or less of that noise."""
    if not subject.has_items or subject.model.is_slow_to_score:
        return None
    guide, schema = subject.guide, subject.schema

    def act(number: int, scale: float, grain: str = LEFT) -> list[Block]:
        x, context = subject.item(int(number))
        z = subject.noise(subject.item(int(number)))
        bare = " without noise" if grain == OFF else ""
        sides = [
            Side(f"test {schema.one} {int(number)}", subject.form(x, context), "data"),
            Side("its noise z", guide.noise(schema, z)),
            Side(f"f({scale:g} z){bare}", subject.decode(scale * z, context, grain == OFF)),
        ]
        return [_length(z, subject.lengths(z)), *guide.show(schema, sides, subject.ground)]

    which = Whole("number", f"Test {schema.one}", 1, 1, len(subject.items))
    scale = Slider("scale", "Scale of its noise", 0.0, 1.5, 1.0, 0.05)
    return _tab(subject, "Noise", ONE.format(one=schema.one), [which, scale], act)


def _tab(
    subject: Subject,
    title: str,
    intro: str,
    controls: Sequence[Control],
    act: Callable[..., list[Block]],
) -> Tab:
    """A tab that takes the noise of training off, where there is any, or leaves it on."""
    if subject.guide.is_noisy(subject.schema):
        intro += GRAIN.format(many=subject.schema.many)
        controls = [*controls, Choice("grain", "The noise of training", [OFF, LEFT], OFF)]
    return Tab(title, intro, controls, act)


def _length(z: Tensor, usual: Tensor) -> str:
    """How long the noise is, beside the lengths of other noise."""
    length = float(z[0].double().norm())
    return (
        f"The noise has {z[0].numel():,} numbers and the length {number(length, 2)}; draws of the "
        f"base have {number(float(usual.mean()), 2)} ± {number(float(usual.std()), 2)}."
    )


def between(subject: Subject) -> Tab | None:
    """Four items, and the manifold between them."""
    guide, schema = subject.guide, subject.schema
    steps = guide.path(schema)
    if not guide.blends(schema) or not subject.has_items or subject.model.is_slow_to_score:
        return None

    def act(phi: float, phi2: float, grain: str = LEFT, **numbers: int) -> list[Block]:
        four = [subject.item(int(numbers[name])) for name in CORNERS]
        x = torch.cat([item.x for item in four])
        contexts = [item.context for item in four if item.context is not None]
        context = torch.cat(contexts) if contexts else None
        z = torch.cat([subject.noise(item) for item in four])
        point, path = _angles([phi], [phi2]), _angles([phi] * steps, _even(steps))
        made, along = (
            _blend(subject, z, context, *angles, grain == OFF) for angles in (point, path)
        )
        corners = Side("the four", subject.form(x, context), "data")
        way = Side(f"the path along φ' at φ = {phi:g}°", along)
        shown = guide.journey(schema, corners, Side("between", made), way, subject.ground)
        return [_weights(*point), *shown]

    chosen = unlike(len(subject.items), subject.labels, SEED)
    whole = [
        Whole(name, f"Test {schema.one} {name}", index + 1, 1, len(subject.items))
        for name, index in zip(CORNERS, chosen, strict=True)
    ]
    phi = Slider("phi", "φ, degrees", 0.0, 90.0, 45.0, 1.0)
    phi2 = Slider("phi2", "φ', degrees", 0.0, 90.0, 45.0, 1.0)
    intro = FOUR.format(many=schema.many)
    return _tab(subject, "Between four", intro, [phi, phi2, *whole], act)


def _even(n: int) -> list[float]:
    return torch.linspace(0, 90, n).tolist()


def _angles(phi: list[float], phi2: list[float]) -> tuple[Tensor, Tensor]:
    """Angles in radians (N,), from degrees."""
    first, second = (torch.tensor(values, dtype=torch.float64).deg2rad() for values in (phi, phi2))
    return first, second


def _blend(
    subject: Subject,
    z: Tensor,
    context: Tensor | None,
    phi: Tensor,
    phi2: Tensor,
    clean: bool,
) -> Any:
    """Items at angles (N,), each with the context of the nearest corner."""
    nearest = coefficients(phi, phi2).argmax(1)
    given = None if context is None else context[nearest]
    return subject.decode(interpolate(z, phi, phi2), given, clean)


def _weights(phi: Tensor, phi2: Tensor) -> str:
    shares = coefficients(phi, phi2)[0].tolist()
    terms = [f"{share:.2f} {name}" for share, name in zip(shares, CORNERS, strict=True)]
    return f"z = {' + '.join(terms)}"


def classes(subject: Subject) -> Tab | None:
    """What a class changes: the same noise given each, or a way from one to another."""
    if not subject.guide.blends(subject.schema) or not subject.has_items:
        return None
    if subject.labels is None or len(set(map(str, subject.labels))) < 2:
        return None
    return _given_each(subject) if subject.schema.context else _edit(subject)


def _given_each(subject: Subject) -> Tab:
    """The noise of one item, decoded given each class."""
    guide, schema = subject.guide, subject.schema
    column = schema.context[0]
    levels = list(column.categories or ())

    def act(number: int, grain: str = LEFT) -> list[Block]:
        x, context = subject.item(int(number))
        z = subject.noise(subject.item(int(number)))
        codes = torch.arange(len(levels))[:, None].to(context)
        made = subject.decode(z.expand(len(levels), *z.shape[1:]), codes, grain == OFF)
        each = f"the same noise given each {column.name}, {levels[0]} to {levels[-1]}"
        item = Side(f"test {schema.one} {int(number)}", subject.form(x, context), "data")
        return guide.show(schema, [item, Side(each, made)])

    which = Whole("number", f"Test {schema.one}", 1, 1, len(subject.items))
    intro = CLASSES.format(one=schema.one, label=column.name)
    return _tab(subject, "Change the class", intro, [which], act)


def _edit(subject: Subject) -> Tab:
    """The direction between two classes, for a flow that is told of none."""
    guide, schema, labels = subject.guide, subject.schema, list(map(str, subject.labels or ()))
    names = sorted(set(labels), key=lambda name: (len(name), name))

    @lru_cache(DIRECTIONS)
    def mean_direction(one: str, other: str) -> Tensor:
        chosen = [i for i, label in enumerate(labels) if label in (one, other)]
        z = torch.cat([subject.noise(subject.items[i]) for i in chosen])
        return direction(z, torch.tensor([labels[i] == other for i in chosen]))

    def act(number: int, one: str, other: str, amount: float, grain: str = LEFT) -> list[Block]:
        if one == other:
            raise InputError("choose two classes")
        z, way = subject.noise(subject.item(int(number))), mean_direction(one, other)
        path = torch.cat([z + step * way for step in STEPS])
        item = Side(
            f"test {schema.one} {int(number)}", subject.form(*subject.item(int(number))), "data"
        )
        made = subject.decode(z + amount * way, clean=grain == OFF)
        steps = subject.decode(path, clean=grain == OFF)
        edited = Side(f"{amount:+g} from {one} to {other}", made)
        along = Side(f"from {STEPS[0]:+g} to {STEPS[-1]:+g}", steps)
        return [*guide.show(schema, [item, edited]), *guide.show(schema, [along])]

    controls = [
        Whole("number", f"Test {schema.one}", 1, 1, len(subject.items)),
        Choice("one", "From the class", names, labels[0]),
        Choice("other", "To the class", names, next(n for n in names if n != labels[0])),
        Slider("amount", "How far", STEPS[0], STEPS[-1], 1.0, 0.1),
    ]
    return _tab(subject, "Edit", EDIT.format(one=schema.one), controls, act)
