"""All that the report of a run on audio tells."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from caudal.data import Dataset
from caudal.flow import Flow
from caudal.recipes import Recipe
from caudal.report.sound.copies import Copy
from caudal.report.sound.distilled import DistilledAudio
from caudal.report.sound.evaluation import AudioEvaluation


@dataclass(frozen=True)
class AudioStory:
    """One run, from its command to its samples.

    Attributes:
        name: of the run, the folder's.
        recipe: that built the flow.
        flow: as trained.
        dataset: that it was trained on.
        evaluation: on clips it has not heard; None where a density takes a step a sample.
        metrics: the lines of metrics.jsonl, losses in nats a sample.
        command: that makes this run again.
        config: the run's config.yaml.
        seconds: that training took, or None if not known.
        seed: of training.
        samples: of the flow, beside test clips (see `draw_copies`).
        distilled: of a student, how it compares to its teacher.
    """

    name: str
    recipe: Recipe
    flow: Flow
    dataset: Dataset
    evaluation: AudioEvaluation | None
    metrics: Sequence[Mapping[str, Any]]
    command: str
    config: str
    seconds: float | None
    seed: int
    samples: Sequence[Copy]
    distilled: DistilledAudio | None = None
