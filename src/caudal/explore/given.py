"""The controls that say what samples are given, and what they come to."""

from collections.abc import Mapping
from typing import Any

from caudal.errors import InputError
from caudal.explore.controls import Choice, Control, Lines, Slider, Whole
from caudal.explore.subject import Subject
from caudal.guided import guided

ANY = "(any)"
LISTED, LEVELS = 6, 60  # columns with a control of their own, and values that one may have
PREFIX, MORE = "given_", "given"


def drawing(subject: Subject) -> list[Control]:
    """The controls of samples: how many, temperature, guidance, seed, and what they are given."""
    guide = subject.guide
    many = Whole("n", f"How many {subject.schema.many}", guide.usual, 1, guide.most)
    heat = Slider("temperature", "Temperature", 0.0, 1.5, 1.0, 0.05)
    return [many, heat, *_guidance(subject), Whole("seed", "Seed", 0), *given_controls(subject)]


def _guidance(subject: Subject) -> list[Control]:
    """A slider, where the flow can be guided."""
    try:
        guided(subject.model.flow, 0.0)
    except InputError:
        return []
    help = "Above 0 samples are more typical of what they are given, and leave the density."
    return [Slider("guidance", "Guidance", 0.0, 4.0, 0.0, 0.25, help=help)]


def given_controls(subject: Subject) -> list[Control]:
    """A choice for each label of the context, and lines for all other columns."""
    chosen = _chosen(subject)
    controls: list[Control] = [
        Choice(f"{PREFIX}{i}", f"Given {name}", [ANY, *levels], ANY)
        for i, (name, levels) in enumerate(chosen.items())
    ]
    others = [
        column
        for column in (*subject.schema.context, *subject.guide.givable(subject.schema))
        if column.name not in chosen
    ]
    if others:
        names = ", ".join(column.name for column in others[:LISTED])
        names += f" and {len(others) - LISTED} more" if len(others) > LISTED else ""
        help = f"COLUMN=VALUE, one a line: {names}"
        controls.append(Lines(MORE, "Given", f"{others[0].name}=...", help=help))
    return controls


def given_of(subject: Subject, values: Mapping[str, Any]) -> tuple[str, ...]:
    """What the controls come to, as `Model.sample` has it: COLUMN=VALUE texts."""
    names = list(_chosen(subject))
    texts = [
        f"{names[int(name.removeprefix(PREFIX))]}={value}"
        for name, value in values.items()
        if name.startswith(PREFIX) and value not in (None, ANY)
    ]
    lines = (values.get(MORE) or "").splitlines()
    return (*texts, *(_tight(line) for line in lines if line.strip()))


def _tight(line: str) -> str:
    """COLUMN=VALUE without blanks around either."""
    name, equals, value = line.partition("=")
    return f"{name.strip()}{equals}{value.strip()}"


def asked_of(subject: Subject, values: Mapping[str, Any]) -> dict[str, Any]:
    """The keywords of `Model.sample` that the controls come to."""
    asked: dict[str, Any] = {"n": int(values["n"]), "seed": int(values["seed"])}
    for name in ("temperature", "guidance"):
        if name in values:
            asked[name] = float(values[name])
    asked |= subject.guide.drawing(subject.schema)
    if given := given_of(subject, values):
        asked["given"] = given
    return asked


def _chosen(subject: Subject) -> dict[str, list[str]]:
    """The labels of the context that can be chosen from, and the values of each."""
    labels = [c for c in subject.schema.context if c.categories and len(c.categories) <= LEVELS]
    return {
        column.name: ["" if level is None else str(level) for level in column.categories or ()]
        for column in labels[:LISTED]
    }
