"""Numbers, pictures and the page that tell how good a run is."""

from caudal.report.comparison import Comparison, compare
from caudal.report.distances import Distance, distances
from caudal.report.distilled import Distilled, compare_students, fidelity_rows, speed_rows
from caudal.report.evaluate import Evaluation, evaluate
from caudal.report.fidelity import Fidelity, measure
from caudal.report.gaussian import Gaussian, fit_gaussian
from caudal.report.sampling_speed import SamplingSpeed, sampling_speed
from caudal.report.story import Story
from caudal.report.two_sample import TwoSample, column_distances, two_sample
from caudal.report.verdict import verdict
from caudal.report.write import write_report

__all__ = [
    "Comparison",
    "Distance",
    "Distilled",
    "Evaluation",
    "Fidelity",
    "Gaussian",
    "SamplingSpeed",
    "Story",
    "TwoSample",
    "column_distances",
    "compare",
    "compare_students",
    "distances",
    "evaluate",
    "fidelity_rows",
    "fit_gaussian",
    "measure",
    "sampling_speed",
    "speed_rows",
    "two_sample",
    "verdict",
    "write_report",
]
