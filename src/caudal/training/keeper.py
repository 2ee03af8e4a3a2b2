"""What training writes into the run folder, in which order, and how a run is resumed from it."""

import pickle
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from caudal import files
from caudal.errors import InputError
from caudal.flow import Flow
from caudal.losses import Terms
from caudal.training.checkpoint import grafted, save_model
from caudal.training.devices import leads
from caudal.training.engine import Engine
from caudal.training.options import LASTING, PLANNED, Training
from caudal.training.run import Run

Identity = dict[str, Any]
"""What makes a run this run, as nested plain data: recipe, schema, lasting options, the data."""

_FORMAT = 1


@dataclass
class Position:
    """How far training has come.

    Attributes:
        step: steps done.
        stale: validations since the best one.
        best_step: steps done at the best validation; None before the first.
        best_valid: mean validation loss then, nats.
        seconds: time spent training so far, in all sessions.
        best: the weights then, as they were validated.
        start: losses of parts of the validation rows before the first step, where the flow begins
            as a model of the data.
    """

    step: int = 0
    stale: int = 0
    best_step: int | None = None
    best_valid: float = float("inf")
    seconds: float = 0.0
    best: dict[str, Tensor] = field(default_factory=dict)
    start: list[float] = field(default_factory=list)


class Keeper:
    """Keeps a run folder, if there is one and this process leads; else does nothing.

    The state is written last and is complete in itself, so a kill at any moment leaves a state
    from which the other files come out as they would have.

    Args:
        run: the folder, or None.
        identity: of the run; goes into the state, and must be the same when resuming.
        whole: the flow that the model file holds, if the trained flow is only a part of it.
    """

    def __init__(self, run: Run | None, identity: Identity, whole: Flow | None = None) -> None:
        self.run, self.identity, self.whole = run, identity, whole
        self._writes = run if leads() else None

    def read(self) -> dict[str, Any] | None:
        """The state to resume from; None to start anew.

        Raises:
            InputError: the state is damaged, or belongs to another run.
        """
        if self.run is None or not self.run.resume or not self.run.state_path.exists():
            return None
        state = _read_state(self.run.state_path)
        _check_identity(self.run, state["identity"], self.identity)
        return state

    def begin(self, training: Training) -> None:
        """Prepares the folder, once nothing is left to refuse; its config has what was planned."""
        run = self._writes
        if run is None:
            return
        if run.config is not None:
            planned = {name: getattr(training, name) for name in PLANNED}
            run.config = {**run.config, **{k: v for k, v in planned.items() if k in run.config}}
        run.begin()

    def history(self, step: int) -> list[dict[str, Any]]:
        """The records up to a step; the work that later ones describe was lost."""
        records = [] if self.run is None else self.run.metrics()
        return [record for record in records if record["step"] <= step]

    def keep_best(self, flow: Flow, position: Position) -> None:
        """Writes the best weights, with their step and validation loss."""
        run = self._writes
        if run is None or run.recipe is None or not position.best:
            return
        extra = {"step": position.best_step, "valid": position.best_valid}
        if self.whole is None:
            extra |= {"data": self.identity["data"]}
            save_model(run.model_path, flow, run.recipe, run.schema, extra, position.best)
        else:  # the rows that a part was trained on are not rows of the whole
            weights = grafted(self.whole, flow, position.best)
            save_model(run.model_path, self.whole, run.recipe, run.schema, extra, weights)

    def keep_state(
        self, engine: Engine, position: Position, history: list[dict[str, Any]]
    ) -> None:
        """Writes the curve, and then everything that resuming needs."""
        if self._writes:
            self._writes.write_metrics(history)
            _save_state(self._writes.state_path, position, engine, self.identity)


def restore(state: dict[str, Any], engine: Engine) -> Position:
    """Puts a state back into the flow, its optimiser and its average."""
    engine.flow.load_state_dict(state["flow"])
    engine.optimizer.load_state_dict(state["optimizer"])
    if engine.average:
        engine.average.load_state_dict(state["average"])
    engine.meter.load_state_dict(state["meter"], engine.like)
    if isinstance(engine.loss, Terms):
        engine.loss.load_state_dict(state.get("loss", {}))  # missing in states of older versions
    return Position(**state["position"])


def _save_state(path: Path, position: Position, engine: Engine, identity: Identity) -> None:
    state = {
        "format": _FORMAT,
        "identity": identity,
        "position": {f: getattr(position, f) for f in position.__dataclass_fields__},
        "flow": engine.flow.state_dict(),
        "optimizer": engine.optimizer.state_dict(),
        "average": engine.average.state_dict() if engine.average else None,
        "meter": engine.meter.state_dict(),
        "loss": engine.loss.state_dict() if isinstance(engine.loss, Terms) else {},
    }
    with files.atomic(path) as temporary, temporary.open("wb") as file:
        try:
            torch.save(state, file)
        except RuntimeError as error:
            if isinstance(error.__context__, OSError):  # the cause, such as a full disk
                raise error.__context__ from None
            raise


def _read_state(path: Path) -> dict[str, Any]:
    """Reads a state, running no code from it."""
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        newer = state["format"] > _FORMAT
    except (OSError, RuntimeError, EOFError, LookupError, TypeError, pickle.UnpicklingError) as e:
        raise InputError(f"{path}: damaged, or not a training state; start a new run") from e
    if newer:
        raise InputError(f"{path}: written by a newer caudal: upgrade to resume it")
    return state


def _check_identity(run: Run, then: Identity, now: Identity) -> None:
    """Refuses to resume another run, and says in what it is another.

    Rows follow from options, and so these are looked at first.
    """
    before, after = dict(_leaves(then)), dict(_leaves(now))
    if "schema" not in then:  # written by a caudal that did not keep it
        after = {path: value for path, value in after.items() if path[0] != "schema"}
    if ("schema", "numbers") not in before and not (now.get("schema") or {}).get("context"):
        after.pop(("schema", "numbers"), None)  # of an older caudal; it is one of contexts alone
    other = [path for path in before.keys() | after.keys() if before.get(path) != after.get(path)]
    if not other:
        return
    first = min(other, key=lambda path: (_ORDER.index(path[0]), path[-1] != "name", path))
    pair = before.get(first), after.get(first)
    if first[0] in ("schema", "data") and (options := _other_options(run)):
        name, *values = options[0]
        first, pair = ("training", name), (values[0], values[1])
    what = _in_words(first)
    if first[0] == "data":
        raise InputError(
            f"{run.state_path}: cannot resume, {what} are not those of the run any more: put the "
            f"data file, and the options that choose rows and columns, back as they were, or "
            f"start a new run"
        )
    if first == ("schema", "numbers"):
        raise InputError(
            f"{run.state_path}: cannot resume, an older caudal has begun it, whose nets take "
            f"numbers of the context in another way: start a new run"
        )
    was, is_now = ("none" if value is None else _shorten(str(value)) for value in pair)
    raise InputError(
        f"{run.state_path}: cannot resume, {what} was {was} and is {is_now}: give the old value, "
        f"or start a new run"
    )


_ORDER = ("training", "recipe", "schema", "data")
_FREE = {field.name for field in fields(Training)} - {*LASTING} | {"report", "data", "teacher"}
"""Options of a config that a resumed run may change; data and teacher may have been moved."""


def _other_options(run: Run) -> list[tuple[str, Any, Any]]:
    """The options of the run's config that are others now: their names, old and new values."""
    if not run.config or not run.config_path.exists():
        return []
    then, now = run.read_config(), run.config
    names = [name for name in now if name in then and name not in _FREE]
    return [(name, then[name], now[name]) for name in names if then[name] != now[name]]


def _in_words(path: tuple[str, ...]) -> str:
    """What a value of an identity is, as its user knows it."""
    part, *names = path
    if part == "data":
        return f"the {'training' if names[0] == 'train' else names[0]} rows"
    if part == "schema" and names[0] in ("columns", "context") and len(names) == 3:
        return f"{names[2]} of the column '{names[1]}'"
    if part == "schema":
        return f"{' of '.join(reversed(names))} of the data"
    return "the recipe" if names in ([], ["name"]) else f"`{names[-1]}`"


def _shorten(text: str, most: int = 60) -> str:
    """A value short enough for a message; a column may have thousands of categories."""
    return text if len(text) <= most else f"{text[: most - 3]}..."


def _leaves(tree: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """The values of nested dicts, by their paths; dicts in a list go by their own names."""
    if isinstance(tree, list | tuple) and tree and all(isinstance(item, dict) for item in tree):
        tree = {item["name"]: item for item in tree}
    if not isinstance(tree, dict):
        yield path, tree
        return
    for key, value in tree.items():
        yield from _leaves(value, (*path, key))
