"""The columns of samples beside those of the data, as training goes on."""

from dataclasses import replace
from pathlib import Path

from caudal.data import Dataset
from caudal.flow import Flow
from caudal.report.film import Film
from caudal.report.page import write_figure
from caudal.report.table.comparison import Comparison, compare, draw_marginals

_ROWS, _COLUMNS = 1000, 8


class ColumnsFilm(Film):
    """Called with a step, draws the columns into `folder/step-000123.png`, the first eight.

    Args:
        folder: for the pictures.
        flow: the one that is trained.
        dataset: the one whose rows stand beside the samples.
        seed: of the noise.
    """

    def __init__(self, folder: str | Path, flow: Flow, dataset: Dataset, seed: int) -> None:
        super().__init__(folder, flow, seed)
        self.dataset = dataset

    def write(self, path: Path) -> Path:
        shown = _first(compare(self.flow, self.dataset, self.seed, _ROWS))
        path = path.with_suffix(".png")
        write_figure(path, lambda: draw_marginals(shown))
        return path


def _first(comparison: Comparison) -> Comparison:
    """The comparison of the first columns alone."""
    schema = replace(comparison.schema, columns=comparison.columns[:_COLUMNS])
    data, samples = (side[:, :_COLUMNS] for side in (comparison.data, comparison.samples))
    return replace(comparison, schema=schema, data=data, samples=samples)
