"""Densities known up to their constant: a flow learns from them without data."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from caudal.annealing import Annealed, anneal
from caudal.correction import STEPS, corrected_sample
from caudal.data import Dataset, Rows
from caudal.data.density import PREFIX, DensityDataset, DensitySchema, find_target
from caudal.errors import InputError
from caudal.fields import check_fields
from caudal.flow import Flow
from caudal.losses import nll
from caudal.modalities.table import Table
from caudal.modalities.table.account import CorrectionAccount
from caudal.modalities.table.exact import HEAVY
from caudal.modality import Request, Voice
from caudal.recipes import Recipe
from caudal.report import (
    LAGS,
    DensityEvaluation,
    DensityTeller,
    evaluate_density,
    number,
    plus_minus,
)
from caudal.targets import TARGETS, Target
from caudal.training.density_terms import DensityTerms, Variational, split

_TEST = 10_000  # exact samples, where they are known
_SEED = 0  # for annealing and exact samples: runs of several seeds share them
_LEAST = 500  # rows that are annealed together: fewer would be copies of one another
_ENOUGH = 1 << 20  # weights: more would not change what they say


@dataclass(frozen=True)
class _Which:
    """Which density to learn."""

    data: str
    """density:NAME, such as density:funnel, or density:module:name for your own."""


@dataclass(frozen=True)
class DensityOptions(Variational, _Which):
    """Which density to learn, and how."""

    def __post_init__(self) -> None:
        check_fields(self, skip=("data",))
        self.check_weights()


@dataclass(frozen=True)
class DensityDrawing:
    """Whether draws of the flow are made samples of the density."""

    context_file: ClassVar[None] = None
    given: ClassVar[tuple[str, ...]] = ()

    exact: bool = False
    """Correct the draws to be samples of the density, by independence Metropolis."""
    annealed: bool = False
    """Carry the draws on to the density by sequential Monte Carlo, for a flow that is not near
    enough for `exact`: more evaluations of the density, and samples that depend on each other a
    little."""

    def __post_init__(self) -> None:
        if self.exact and self.annealed:
            raise InputError("`exact` and `annealed`: choose one of them")


def score_density(
    flow: Flow, dataset: Any, beginning: Any, rows: int | None, seed: int
) -> DensityEvaluation:
    """How near a flow is to the density of a dataset, in the place of samples beside test rows."""
    return evaluate_density(flow, dataset.target, seed=seed)


def density_dataset(schema: DensitySchema, target: Target, annealed: Annealed) -> DensityDataset:
    """Chains in the place of data; the test rows are exact samples, where these are known."""
    chains, held_out = split(annealed.x)
    valid, test = Rows(held_out.x[::2]), Rows(held_out.x[1::2])
    if target.samples_exactly:
        exact = target.sample(_TEST, torch.Generator().manual_seed(_SEED))
        valid, test = held_out, Rows(exact.to(annealed.x))
    notes = () if annealed.settled else (LAGS,)
    return DensityDataset(
        schema.density, schema, chains, valid, test, notes, target=target, annealed=annealed
    )


class Density(Table):
    """A density that is known up to its constant, whose columns are those of a table.

    Chains that are annealed to it stand in the place of data (`caudal.training.density_terms`);
    the test rows are exact samples where these are known.
    """

    name = "density"
    what = "a density"
    names: ClassVar[Any] = tuple(f"{PREFIX}{name}" for name in TARGETS)
    formats = f"density:NAME of {', '.join(TARGETS)}, or density:module:name"
    options: ClassVar[Any] = DensityOptions
    drawing: ClassVar[Any] = DensityDrawing
    target: ClassVar[Any] = None
    scoreboard: ClassVar[Any] = staticmethod(score_density)
    scoreboard_seconds = 10.0
    judged = 0
    teller = DensityTeller

    # --- data -----------------------------------------------------------------------------------

    def recognises(self, data: Any) -> bool:
        return isinstance(data, Target) or (isinstance(data, str) and data.startswith(PREFIX))

    def open(
        self,
        options: Any,
        recipe: Recipe,
        schema: Any,
        voice: Voice,
    ) -> DensityDataset:
        """Anneals chains to the density; they are the same ones each time."""
        target = _target(options.data)
        name = target.name or type(target).__name__
        if isinstance(options.data, str):
            name = options.data.removeprefix(PREFIX)
        own = DensitySchema.named(name, target.features)
        if schema is not None and schema.columns != own.columns:
            raise InputError(
                f"{name} has {target.features} columns, the run {len(schema.columns)}"
            )
        annealed = options.annealed(target, torch.zeros(()), target.features, _SEED)
        return density_dataset(schema or own, target, annealed)

    def papers(self, options: Any, dataset: Dataset) -> Mapping[str, str]:
        return {}

    # --- flows ----------------------------------------------------------------------------------

    def objective(self, flow: Flow, dataset: Any, options: Any) -> tuple[Any, Any]:
        """Divergences on chains and draws; held-out chains select by -log q."""
        return DensityTerms(flow, dataset.target, dataset.train, options), nll

    @property
    def draws_in_training(self) -> bool:
        return True

    def size(self, dataset: Dataset, minutes: float | None) -> str | None:
        """A step takes three passes of the flow, and so the flow is not large."""
        return None if minutes is None else "medium"

    # --- samples --------------------------------------------------------------------------------

    def draw(self, model: Any, drawing: Any, temperature: float) -> Any:
        if not drawing.exact and not drawing.annealed:
            return model.draw(temperature)
        name = "exact" if drawing.exact else "annealed"
        if temperature != 1:
            raise InputError(f"`{name}` gives samples of the density: leave `temperature` out")
        data = model.config.get("data")
        target = _target(data) if data else model.dataset.target
        return Corrected(model, target) if drawing.exact else CarriedOn(model, target)

    # --- what people see ------------------------------------------------------------------------

    def preview(self, dataset: Dataset) -> Iterator[Any]:
        assert isinstance(dataset, DensityDataset)
        target, annealed = dataset.target, dataset.annealed
        assert target is not None
        assert annealed is not None
        about = f": {target.about}" if target.about else ""
        yield f"density {dataset.name}, {target.features} columns{about}"
        known = "" if target.log_z is None else f" (it is {number(target.log_z)})"
        yield (
            f"{len(annealed.x):,} chains annealed in {len(annealed.temperatures)} steps, "
            f"log Z {plus_minus(annealed.log_z, 2 * annealed.log_z_error)}{known}"
        )
        exact = "exact samples" if target.samples_exactly else "annealed too"
        counts = ", ".join(f"{source.n_rows:,} {name}" for name, source in dataset.parts)
        yield f"{counts} rows; test rows are {exact}"

    def advice(self, recipe: Recipe, dataset: Dataset) -> list[str]:
        slow = "sequential" in (recipe.scores, recipe.samples)
        if not slow or len(dataset.schema.columns) == 1:
            return []
        return [
            f"{recipe.name} does not both score and sample in one pass, and a density asks for "
            f"both in each step; nsf and realnvp do"
        ]

    def next_commands(self, folder: str, schema: Any) -> list[str]:
        return [
            f"caudal sample {folder} -n 1000 --exact --out samples.csv",
            f"caudal eval {folder}",
        ]


class Corrected(CorrectionAccount):
    """Draws of a flow, corrected to be samples of its density, and what that took."""

    def __init__(self, model: Any, target: Target) -> None:
        super().__init__()
        self.model, self.target = model, target

    def __call__(self, request: Request, generator: torch.Generator) -> Tensor:
        x, part = corrected_sample(
            self.model.flow, self.target, request.n, steps=STEPS, generator=generator
        )
        self._keep(part)
        return x

    def tell(self, voice: Voice) -> None:
        total = self.total
        voice.say(
            f"corrected in {total.steps} steps: acceptance {total.acceptance:.1%}, effective size "
            f"{total.ess:.1%} of the draws, Pareto k {number(total.pareto_k, 2) or 'not known'}"
        )
        if total.pareto_k > HEAVY:
            voice.note(
                f"Pareto k above {HEAVY}: the flow lacks some of the density, and so do these "
                f"rows; train it longer"
            )
        else:
            voice.say(
                f"by these weights, which know nothing of what the flow never draws, at most "
                f"{100 * total.left:.2g}% of the rows are not samples of the density"
            )


class CarriedOn:
    """Draws of a flow, carried on to its density by sequential Monte Carlo, and what that took."""

    key = "annealed"

    def __init__(self, model: Any, target: Target) -> None:
        self.model, self.target = model, target
        self._parts: list[tuple[int, Annealed]] = []

    def __call__(self, request: Request, generator: torch.Generator) -> Tensor:
        part = anneal(self.target, self.model.flow, max(request.n, _LEAST), generator)
        self._parts.append((len(part.x), replace(part, x=part.x[:0])))
        return part.x[: request.n]

    def summary(self) -> "CarriedOn":
        """This account, once all rows are drawn."""
        return self

    def to_dict(self) -> dict[str, Any]:
        """For JSON: log Z and its standard error in nats, over all rows, and what it took."""
        rows, parts = zip(*self._parts, strict=True)
        log_z = torch.tensor([part.log_z for part in parts], dtype=torch.float64)
        shares = torch.tensor(rows, dtype=torch.float64) / sum(rows)
        whole = (log_z + shares.log()).logsumexp(0)
        weights = shares * (log_z - whole).exp()
        between = torch.tensor([part.between_runs for part in parts], dtype=torch.float64)
        bias = torch.tensor([part.bias for part in parts], dtype=torch.float64)
        return {
            "log_z": float(whole),
            "log_z_error": math.hypot((weights * between).norm(), (weights * bias).sum()),
            "temperatures": max(len(part.temperatures) for part in parts),
            "settled": all(part.settled for part in parts),
            "accepted": sum(part.accepted for part in parts) / len(parts),
        }

    def tell(self, voice: Voice) -> None:
        """Tells what it took, and log Z."""
        found = self.to_dict()
        steps = "1 step" if found["temperatures"] == 1 else f"{found['temperatures']} steps"
        voice.say(
            f"carried on to the density in {steps}, {found['accepted']:.0%} of the last moves "
            f"accepted; log Z {plus_minus(found['log_z'], 2 * found['log_z_error'])}"
        )
        if not found["settled"]:
            voice.note(LAGS)


def _target(data: Any) -> Target:
    return data if isinstance(data, Target) else find_target(str(data).removeprefix(PREFIX))
