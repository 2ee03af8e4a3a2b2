"""Numbers, pictures and the page that tell how good a run is."""

from caudal.report.comparison import Comparison, compare
from caudal.report.distances import Distance, distances
from caudal.report.evaluate import Evaluation, evaluate
from caudal.report.gaussian import Gaussian, fit_gaussian
from caudal.report.story import Story
from caudal.report.write import write_report

__all__ = [
    "Comparison",
    "Distance",
    "Evaluation",
    "Gaussian",
    "Story",
    "compare",
    "distances",
    "evaluate",
    "fit_gaussian",
    "write_report",
]
