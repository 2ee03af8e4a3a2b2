"""The state of a run: everything that resuming needs, in one safetensors file with a checksum.

The file holds numbers and text only, so reading a stranger's state runs no code. What is read is
checked before it is used: the checksum finds a damaged file, and the shapes a state of another
flow.
"""

import hashlib
import json
import pickle
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from caudal.errors import InputError
from caudal.losses import Terms
from caudal.training.engine import Engine
from caudal.training.meter import Meter
from caudal.training.pace import Course
from caudal.training.shares import dealt, share_of
from caudal.training.tensors import Hashes, hashes_of, read_tensors, write_tensors

STATE = "state.safetensors"
"""The name of the state in a run folder."""
OLD_STATE = "state.pt"
"""Its name in runs of caudal 0.1, which are still read."""
FORMAT = 3

Identity = dict[str, Any]
"""What makes a run this run, as nested plain data: recipe, schema, lasting options, the data."""
Weights = dict[str, Tensor]

_KEY = "caudal"
_MOMENTS = ("step", "exp_avg", "exp_avg_sq")
# What Python raises where a tree of plain data is not the one that is expected.
_NONSENSE = (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)


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
        course: the numbers of a `Course`, where steps were planned anew on the way.
    """

    step: int = 0
    stale: int = 0
    best_step: int | None = None
    best_valid: float = float("inf")
    seconds: float = 0.0
    best: Weights = field(default_factory=dict)
    start: list[float] = field(default_factory=list)
    course: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class State:
    """What a run goes on from.

    Attributes:
        identity: of the run.
        position: how far it has come, with the best weights so far.
        flow: the weights.
        moments: of Adam, by the names of the weights (in caudal 0.1 by their numbers, as text)
            and then their own; None begins anew.
        average: the moving average of the weights, where the run has one.
        meter: see `Meter.state_dict`; None begins anew.
        loss: see `Terms.state_dict`.
        source: the file, for messages.
    """

    identity: Identity
    position: Position
    flow: Weights
    moments: Mapping[str, Weights] | None = None
    average: Weights | None = None
    meter: dict[str, Any] | None = None
    loss: Weights = field(default_factory=dict)
    source: str = "the state"

    @classmethod
    def of(cls, engine: Engine, position: Position, identity: Identity) -> "State":
        """The state of training now."""
        average = engine.average.state_dict() if engine.average else None
        moments = {
            name: dict(engine.optimizer.state[parameter])
            for name, parameter in engine.flow.named_parameters()
            if engine.optimizer.state.get(parameter)
        }
        loss = engine.loss.state_dict() if isinstance(engine.loss, Terms) else {}
        weights = engine.flow.state_dict(), moments, average
        return cls(identity, position, *weights, engine.meter.state_dict(), loss)

    def restore(self, engine: Engine) -> Position:
        """Puts the state into the flow, its optimiser, its average and its meter.

        Raises:
            InputError: it is of another flow, or its numbers make no sense; nothing is changed.
        """
        self._check(engine)
        likes = engine.flow.state_dict()
        engine.flow.load_state_dict(dealt(self.flow, likes))
        if self.moments is not None:
            engine.optimizer.load_state_dict(_by_number(self.moments, engine))
        if engine.average and self.average is not None:
            averages = engine.average.state_dict()
            engine.average.load_state_dict(dealt(self.average, averages))
        elif engine.average:
            engine.average.reset()
        if self.meter is not None:
            engine.meter.load_state_dict(self.meter, engine.like)
        if self.loss and isinstance(engine.loss, Terms):
            engine.loss.load_state_dict(self.loss)
        engine.course = Course(*self.position.course)
        best = {name: t.cpu() for name, t in dealt(self.position.best, likes).items()}
        return replace(self.position, best=best)

    def begin(self, engine: Engine) -> Position:
        """Puts the weights alone into a flow that will be sharded, and then restored.

        Raises:
            InputError: as `restore`.
        """
        self._check(engine)
        engine.flow.load_state_dict(self.flow)
        return self.position

    def _check(self, engine: Engine) -> None:
        """Refuses what would not fit: a fused optimiser reads as much as it believes there is."""
        try:
            _check_position(self.position)
            _check_all(self.flow, engine.flow.state_dict())
            if self.position.best:
                _check_all(self.position.best, engine.flow.state_dict())
            parameters = _parameters(engine)
            for name, tensor in (self.average or {}).items():
                _check_like(tensor, parameters[name])
            orthogonal = {
                id(parameter)
                for group in engine.optimizer.param_groups
                for parameter in group["params"]
                if group["orthogonal"]
            }
            for name, moments in (self.moments or {}).items():
                parameter = parameters[name]
                _check_moments(moments, parameter, id(parameter) in orthogonal)
            if self.meter is not None:
                Meter().load_state_dict(self.meter, engine.like)
            if self.loss and isinstance(engine.loss, Terms):
                _check_all(self.loss, engine.loss.state_dict())
        except InputError:
            raise
        except _NONSENSE as error:
            raise InputError(
                f"{self.source}: not a state of this flow; `overwrite=True` starts a new run"
            ) from error


def write_state(path: Path | None, state: State) -> None:
    """Writes a state, atomically; None in a process that but gives its shares to the others."""
    tensors = dict(_flattened(state))
    position = {k: v for k, v in vars(state.position).items() if k != "best"}
    content = {"identity": state.identity, "position": position, "meter": state.meter}
    text = json.dumps({"format": FORMAT, **content})
    write_tensors(
        path,
        tensors,
        lambda hashes: {_KEY: json.dumps({"content": text, "sha256": _signed(text, hashes)})},
    )


def read_state(path: Path) -> State:
    """Reads a state, running no code from it; of caudal 0.1 too.

    Raises:
        InputError: it is damaged, no state, or of a newer caudal.
    """
    read = _read_old if path.name == OLD_STATE else _read
    try:
        newer, state = read(path)
    except (OSError, EOFError, pickle.UnpicklingError, *_NONSENSE) as error:
        raise InputError(
            f"{path}: damaged, or not a training state; `from_best=True` goes on from the best "
            f"model, `overwrite=True` starts a new run"
        ) from error
    if newer or state is None:
        raise InputError(f"{path}: written by a newer caudal: upgrade to resume it")
    return state


def _read(path: Path) -> tuple[bool, State | None]:
    texts, tensors = read_tensors(path)
    signed = json.loads(texts[_KEY])
    text = signed["content"]
    content = json.loads(text)
    newest = content["format"] > 2
    digest = _signed(text, hashes_of(tensors)) if newest else _digest(text, tensors)
    if digest != signed["sha256"]:
        raise ValueError("the checksum is another")
    if content["format"] > FORMAT:
        return True, None
    parts = _grouped(tensors)
    position = Position(**content["position"], best=parts.pop("best", {}))
    moments: dict[str, Weights] = {}
    for what in _MOMENTS:
        for name, tensor in parts.get(what, {}).items():
            moments.setdefault(name, {})[what] = tensor
    weights = parts["flow"], moments, parts.get("average")
    rest = content["meter"], parts.get("loss", {}), str(path)
    return False, State(content["identity"], position, *weights, *rest)


def _read_old(path: Path) -> tuple[bool, State | None]:
    content = torch.load(path, map_location="cpu", weights_only=True)
    if content["format"] > 1:
        return True, None
    identity = json.loads(json.dumps(content["identity"]))
    numbered = content["optimizer"]
    flat = [number for group in numbered["param_groups"] for number in group["params"]]
    moments = {str(flat.index(number)): kept for number, kept in numbered["state"].items()}
    known = {f.name for f in fields(Position)}
    position = Position(**{k: v for k, v in content["position"].items() if k in known})
    weights = content["flow"], moments, content["average"]
    return False, State(identity, position, *weights, content["meter"], {}, str(path))


def _flattened(state: State) -> Iterable[tuple[str, Tensor]]:
    """All tensors of a state by one name, such as `flow:base.loc` and `exp_avg:base.loc`."""
    parts = {"flow": state.flow, "best": state.position.best, "average": state.average or {}}
    parts["loss"] = state.loss
    for what in _MOMENTS:
        moments = (state.moments or {}).items()
        parts[what] = {name: kept[what] for name, kept in moments if what in kept}
    for part, weights in parts.items():
        for name, tensor in weights.items():
            yield f"{part}:{name}", tensor


def _grouped(tensors: Mapping[str, Tensor]) -> dict[str, Weights]:
    parts: dict[str, Weights] = {}
    for full, tensor in tensors.items():
        part, name = full.split(":", 1)
        parts.setdefault(part, {})[name] = tensor
    return parts


def _signed(text: str, hashes: Hashes) -> str:
    """SHA-256 of the text and of the hashes of the tensors, by their names."""
    return hashlib.sha256(json.dumps([text, sorted(hashes.items())]).encode()).hexdigest()


def _digest(text: str, tensors: Mapping[str, Tensor]) -> str:
    """The checksum of format 2: of the text and of the bytes of the tensors, by their names."""
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _parameters(engine: Engine) -> dict[str, Tensor]:
    """What an engine trains, by name and, as states of caudal 0.1 have it, by number."""
    numbered = enumerate(p for group in engine.optimizer.param_groups for p in group["params"])
    return {**dict(engine.flow.named_parameters()), **{str(n): p for n, p in numbered}}


def _by_number(moments: Mapping[str, Weights], engine: Engine) -> dict[str, Any]:
    """Moments as an optimiser takes them: by the numbers of its parameters, in its own groups."""
    kept = {
        id(parameter): {
            what: t if what == "step" else share_of(t, parameter)
            for what, t in moments[name].items()
        }
        for name, parameter in _parameters(engine).items()
        if name in moments
    }
    groups = engine.optimizer.param_groups
    numbered = enumerate(id(p) for group in groups for p in group["params"])
    state = {number: kept[key] for number, key in numbered if key in kept}
    return {"state": state, "param_groups": engine.optimizer.state_dict()["param_groups"]}


def _check_position(position: Position) -> None:
    """Raises one of `_NONSENSE` where a number is not one that training leaves."""
    whole = [position.step, position.stale]
    whole += [] if position.best_step is None else [position.best_step]
    if not all(type(value) is int and value >= 0 for value in whole):
        raise ValueError(position)
    if bool(position.best) != (position.best_step is not None):
        raise ValueError(position)
    if not all(type(v) is float for v in (position.best_valid, position.seconds, *position.start)):
        raise TypeError(position)
    if len(position.course) not in (0, 3) or not all(x >= 0 for x in position.course):
        raise ValueError(position)


def _check_all(weights: Weights, others: Weights) -> None:
    if weights.keys() != others.keys():
        raise KeyError(weights.keys() ^ others.keys())
    for name, tensor in weights.items():
        _check_like(tensor, others[name])


def _check_moments(moments: Weights, parameter: Tensor, orthogonal: bool) -> None:
    if set(moments) != set(_MOMENTS[:2] if orthogonal else _MOMENTS):
        raise KeyError(moments.keys())
    for what, tensor in moments.items():
        _check_like(
            tensor, parameter.new_zeros((), dtype=torch.float32) if what == "step" else parameter
        )


def _check_like(tensor: Tensor, other: Tensor) -> None:
    if tensor.shape != other.shape or tensor.dtype != other.dtype:
        raise ValueError(tensor.shape)
