"""All that the report of a run tells."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from caudal.data import Dataset
from caudal.flow import Flow
from caudal.recipes import Recipe
from caudal.report.comparison import Comparison
from caudal.report.distilled import Distilled
from caudal.report.evaluate import Evaluation


@dataclass(frozen=True)
class Story:
    """One run, from its command to its samples.

    Attributes:
        name: of the run, the folder's.
        recipe: that built the flow.
        flow: as trained.
        dataset: that it was trained on.
        evaluation: on rows it has not seen.
        comparison: data beside samples.
        metrics: the lines of metrics.jsonl.
        command: that makes this run again.
        config: the run's config.yaml.
        seconds: that training took, or None if not known.
        seed: of training.
        distilled: of a student, how it compares to its teacher.
    """

    name: str
    recipe: Recipe
    flow: Flow
    dataset: Dataset
    evaluation: Evaluation
    comparison: Comparison
    metrics: Sequence[Mapping[str, Any]]
    command: str
    config: str
    seconds: float | None
    seed: int
    distilled: Distilled | None = None


def parameters(flow: Flow) -> int:
    """How many numbers training changes."""
    return sum(p.numel() for p in flow.parameters() if p.requires_grad)


def duration(seconds: float) -> str:
    """A time in words: `48 s`, `3 min 20 s`, `2 h 5 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
