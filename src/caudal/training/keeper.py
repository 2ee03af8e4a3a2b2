"""What training writes into the run folder, in which order, and how a run is resumed from it."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import fields
from typing import Any

from caudal.data.schema import schema_from_dict
from caudal.errors import InputError
from caudal.flow import Flow
from caudal.recipes import describe, rebuild
from caudal.training.checkpoint import grafted, load_model, part_of, save_model
from caudal.training.engine import Engine
from caudal.training.options import LASTING, PLANNED, Training
from caudal.training.processes import leads
from caudal.training.run import Run
from caudal.training.state import Identity, Position, State, read_state, write_state


class Keeper:
    """Keeps a run folder, if there is one and this process leads; else does nothing.

    The state is complete in itself and is written before the model, so a kill at any moment leaves
    one from which the other files come out as they would have.

    Args:
        run: the folder, or None.
        identity: of the run; goes into the state, and must be the same when resuming.
        whole: the flow that the model file holds, if the trained flow is only a part of it.
    """

    def __init__(self, run: Run | None, identity: Identity, whole: Flow | None = None) -> None:
        self.run, self.whole = run, whole
        self.identity = json.loads(json.dumps(identity))  # as JSON gives it back: lists, no tuples
        self._writes = run if leads() else None
        self._lock = ExitStack()

    def read(self, flow: Flow) -> State | None:
        """The state to resume from; None to start anew.

        It is that of the best model, with a new optimiser, where that was asked for or there is
        no other.

        Raises:
            InputError: the state is damaged, or belongs to another run.
        """
        run = self.run
        if run is None or not run.resume:
            return None
        path = run.found_state
        if run.from_best or (path is None and run.model_path.exists()):
            state = self._best(run, flow)
        elif path is None:
            return None
        else:
            state = read_state(path)
        _check_identity(run, state.identity, self.identity)
        return state

    def _best(self, run: Run, flow: Flow) -> State:
        """The state that begins anew, with a new optimiser, from the best model."""
        loaded = load_model(run.path)
        weights = loaded.flow.state_dict()
        if self.whole is not None:
            weights = part_of(self.whole, flow, weights)
        metadata = loaded.metadata
        step, valid = metadata.get("step"), metadata.get("valid")
        if not (isinstance(step, int) and isinstance(valid, float)):
            raise InputError(f"{run.model_path}: says no step, so that no run can go on from it")
        then = {"recipe": describe(loaded.recipe), "schema": metadata.get("schema")}
        then |= {"data": metadata["data"]} if "data" in metadata else {}
        position = Position(step, best_step=step, best_valid=valid, best=weights)
        source = str(run.model_path)
        return State({**self.identity, **then}, position, weights, source=source)

    def begin(self, training: Training) -> None:
        """Prepares the folder, once nothing is left to refuse; its config has what was planned.

        Raises:
            InputError: another process trains in it.
        """
        run = self._writes
        if run is None:
            return
        self._settle(training)
        self._lock.enter_context(run.locked())
        run.begin()

    def plan(self, training: Training) -> None:
        """Writes into the config what was planned anew."""
        self._settle(training)
        if self._writes is not None:
            self._writes.write_config()

    def _settle(self, training: Training) -> None:
        """Puts what was planned into the run's config."""
        run = self._writes
        if run is not None and run.config is not None:
            planned = {name: getattr(training, name) for name in PLANNED}
            run.config = {**run.config, **{k: v for k, v in planned.items() if k in run.config}}

    def end(self) -> None:
        """Releases the folder for other processes."""
        self._lock.close()

    def history(self, step: int) -> list[dict[str, Any]]:
        """The records up to a step; the work that later ones describe was lost."""
        records = [] if self.run is None else self.run.metrics()
        return [record for record in records if record["step"] <= step]

    def keep_best(self, flow: Flow, position: Position) -> None:
        """Writes the best weights, with their step and validation loss."""
        run = self.run
        if run is None or run.recipe is None or not position.best:
            return
        path = run.model_path if self._writes else None  # the others give their shares
        extra = {"step": position.best_step, "valid": position.best_valid}
        if self.whole is None:
            extra |= {"data": self.identity["data"]}
            save_model(path, flow, run.recipe, run.schema, extra, position.best)
        else:  # the rows that a part was trained on are not rows of the whole
            weights = grafted(self.whole, flow, position.best)
            save_model(path, self.whole, run.recipe, run.schema, extra, weights)

    def keep_state(
        self, engine: Engine, position: Position, history: list[dict[str, Any]]
    ) -> None:
        """Writes the curve, and then everything that resuming needs."""
        if self.run is None:
            return
        if self._writes:
            self._writes.write_metrics(history)
        path = self._writes.state_path if self._writes else None
        write_state(path, State.of(engine, position, self.identity))
        if self._writes:
            self._writes.old_state_path.unlink(missing_ok=True)


def _check_identity(run: Run, then: Identity, now: Identity) -> None:
    """Refuses to resume another run, and says how it differs.

    Rows follow from options, and so these are looked at first.
    """
    before, after = (dict(_leaves(_as_now(identity))) for identity in (then, now))
    if "schema" not in then:  # written by a caudal that did not keep it
        after = {path: value for path, value in after.items() if path[0] != "schema"}
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
            f"{run.path}: cannot resume, {what} are not those of the run any more: put the "
            f"data file, and the options that choose rows and columns, back as they were, or "
            f"start a new run"
        )
    if first in _OLDER_WAYS:
        raise InputError(
            f"{run.path}: cannot resume, an older caudal has begun it, {_OLDER_WAYS[first]} in "
            f"another way: start a new run"
        )
    if first[:2] in _RULES:
        raise InputError(
            f"{run.path}: cannot resume, other rules between columns are found in the data now; "
            f"an older caudal has begun it, or the rows have changed: start a new run"
        )
    was, is_now = ("none" if value is None else _shorten(str(value)) for value in pair)
    raise InputError(
        f"{run.path}: cannot resume, {what} was {was} and is {is_now}: give the old value, "
        f"or start a new run"
    )


def _as_now(identity: Identity) -> Identity:
    """An older identity in today's form, with the defaults that it left unsaid.

    The ends of what was seen follow from the rows, which are compared by themselves.
    """
    usual = {name: getattr(Training(), name) for name in LASTING}
    training = {**usual, **identity.get("training", {})}
    recipe = _recipe_as_now(identity.get("recipe"))
    identity = {**identity, "recipe": recipe, "training": training}
    if not identity.get("schema"):
        return identity
    schema = json.loads(json.dumps(schema_from_dict(identity["schema"]).to_dict()))
    for column in schema.get("context", []):
        column["seen"] = None
    if "columns" in schema and not schema.get("context"):
        del schema["numbers"]  # they concern the context alone
    return {**identity, "schema": schema}


def _recipe_as_now(described: Any) -> Any:
    """A recipe with all fields that it has today; one that builds no more is left as it was."""
    if described is None:
        return None
    try:
        return json.loads(json.dumps(describe(rebuild(described))))
    except (InputError, TypeError, ValueError):
        return described


_OLDER_WAYS = {
    ("schema", "numbers"): "whose nets take numbers of the context",
    ("schema", "fillers"): "which fills gaps",
}
_RULES = (("schema", "inequalities"), ("schema", "followers"))
_ORDER = ("training", "recipe", "schema", "data")
_FREE = {field.name for field in fields(Training)} - {*LASTING} | {"report", "data", "teacher"}
"""Options of a config that a resumed run may change; data and teacher may have been moved."""


def _other_options(run: Run) -> list[tuple[str, Any, Any]]:
    """The options of the run's config that have changed: names, old values and new ones."""
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


def _shorten(text: str) -> str:
    """A value short enough for a message; a column may have thousands of categories."""
    return text if len(text) <= 60 else f"{text[:57]}..."


def _leaves(tree: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """The values of nested dicts, by their paths; dicts in a list go by their own names.

    If several have one name, all but the first carry their number too. The names in their order
    are the value of the list.
    """
    if isinstance(tree, list | tuple) and tree and all(isinstance(item, dict) for item in tree):
        names = [item["name"] if "name" in item else item["column"]["name"] for item in tree]
        yield path, names
        tree = {_numbered(names, i): item for i, item in enumerate(tree)}
    if not isinstance(tree, dict):
        yield path, tree
        return
    for key, value in tree.items():
        yield from _leaves(value, (*path, key))


def _numbered(names: list[str], i: int) -> str:
    """The name at i, with its number if it stands there again."""
    again = names[:i].count(names[i])
    return f"{names[i]} {again + 1}" if again else names[i]
