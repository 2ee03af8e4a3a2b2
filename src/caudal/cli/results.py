"""Where in a run folder its evaluation is."""

import json
from pathlib import Path

from caudal import files
from caudal.report import Evaluation
from caudal.report.pixels import ImageEvaluation
from caudal.report.sound import AudioEvaluation

GAUSSIAN = "gaussian.safetensors"


def write_evaluation(path: Path, result: Evaluation | ImageEvaluation | AudioEvaluation) -> None:
    """Writes eval.json, atomically."""
    files.write_text(path, json.dumps(result.to_dict(), indent=2, ensure_ascii=False) + "\n")
