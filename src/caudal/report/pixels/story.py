"""All that the report of a run on images tells."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from caudal.data import Dataset
from caudal.flow import Flow
from caudal.recipes import Recipe
from caudal.report.pixels.evaluation import ImageEvaluation


@dataclass(frozen=True)
class ImageStory:
    """One run, from its command to its samples.

    Attributes:
        name: of the run, the folder's.
        recipe: that built the flow.
        flow: as trained.
        dataset: that it was trained on.
        evaluation: on images it has not seen.
        metrics: the lines of metrics.jsonl, losses in nats an image.
        command: that makes this run again.
        config: the run's config.yaml.
        seconds: that training took, or None if not known.
        seed: of training.
        filmstrip: the folder that a `Filmstrip` filled during training, or None.
    """

    name: str
    recipe: Recipe
    flow: Flow
    dataset: Dataset
    evaluation: ImageEvaluation
    metrics: Sequence[Mapping[str, Any]]
    command: str
    config: str
    seconds: float | None
    seed: int
    filmstrip: Path | None = None
