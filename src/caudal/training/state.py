"""`state.pt`: everything that resuming needs, and whether it is the same run."""

import pickle
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from caudal import files
from caudal.errors import InputError
from caudal.training.engine import Engine

_FORMAT = 1


@dataclass
class Position:
    """Where training stands.

    Attributes:
        step: steps done.
        stale: validations since the best one.
        best_step: of the best validation; None before the first.
        best_valid: its mean loss, nats.
        seconds: of training so far, in all sessions.
        best: the weights then, as they were validated.
    """

    step: int = 0
    stale: int = 0
    best_step: int | None = None
    best_valid: float = float("inf")
    seconds: float = 0.0
    best: dict[str, Tensor] = field(default_factory=dict)


def save_state(path: Path, position: Position, engine: Engine, identity: dict[str, Any]) -> None:
    """Writes the state, atomically."""
    state = {
        "format": _FORMAT,
        "identity": identity,
        "position": {f: getattr(position, f) for f in position.__dataclass_fields__},
        "flow": engine.flow.state_dict(),
        "optimizer": engine.optimizer.state_dict(),
        "average": engine.average.state_dict() if engine.average else None,
        "meter": engine.meter.state_dict(),
    }
    with files.atomic(path) as temporary, temporary.open("wb") as file:
        try:
            torch.save(state, file)
        except RuntimeError as error:
            if isinstance(error.__context__, OSError):  # a full disk, behind what it led to
                raise error.__context__ from None
            raise


def read_state(path: Path, identity: dict[str, Any]) -> dict[str, Any]:
    """Reads a state, running no code from it.

    Raises:
        InputError: the file is damaged, of a newer caudal, or of another run.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        newer = state["format"] > _FORMAT
    except (OSError, RuntimeError, EOFError, LookupError, TypeError, pickle.UnpicklingError) as e:
        raise InputError(f"{path}: damaged, or not a training state; start a new run") from e
    if newer:
        raise InputError(f"{path}: written by a newer caudal: upgrade to resume it")
    before, now = (dict(_leaves(i)) for i in (state["identity"], identity))
    if "schema" not in state["identity"]:  # of a caudal that did not keep it
        now = {name: value for name, value in now.items() if not name.startswith("schema.")}
    for name in sorted(before.keys() | now.keys()):
        if before.get(name) != now.get(name):
            if name.startswith("data."):
                part = name.split(".")[1]
                raise InputError(
                    f"{path}: cannot resume, the {part} rows are not those of the run any more: "
                    f"put the data file, and the options that choose rows and columns, back as "
                    f"they were, or start a new run"
                )
            raise InputError(
                f"{path}: cannot resume, {name} was {_shorten(str(before.get(name)))} and is "
                f"{_shorten(str(now.get(name)))}: give the old value, or start a new run"
            )
    return state


def restore(state: dict[str, Any], engine: Engine) -> Position:
    """Puts a state back into the flow, its optimiser and its average."""
    engine.flow.load_state_dict(state["flow"])
    engine.optimizer.load_state_dict(state["optimizer"])
    if engine.average:
        engine.average.load_state_dict(state["average"])
    engine.meter.load_state_dict(state["meter"], engine.like)
    return Position(**state["position"])


def _shorten(text: str, most: int = 60) -> str:
    """Categories may be thousands."""
    return text if len(text) <= most else f"{text[: most - 3]}..."


def _leaves(tree: Any, path: str = "") -> list[tuple[str, Any]]:
    """The values of nested dicts, by their dotted names; columns in lists go by their own."""
    if isinstance(tree, list | tuple) and tree and all(isinstance(item, dict) for item in tree):
        tree = {item["name"]: item for item in tree}
    if not isinstance(tree, dict):
        return [(path, tree)]
    below = (_leaves(value, f"{path}.{key}" if path else key) for key, value in tree.items())
    return [leaf for leaves in below for leaf in leaves]
