"""Numbers, pictures and the page that tell how good a run is."""

from caudal.report.audio.autoregression import Autoregression
from caudal.report.audio.copied import copy_clips, copying_seconds
from caudal.report.audio.distilled import DistilledAudio, compare_audio
from caudal.report.audio.film import CopiesFilm
from caudal.report.audio.guide import AudioGuide
from caudal.report.audio.teller import AudioTeller
from caudal.report.baseline import Baseline, load_baseline, save_baseline
from caudal.report.beginning import Copula, SpectralPrediction
from caudal.report.copying import Copying
from caudal.report.density import LAGS, DensityEvaluation, evaluate_density
from caudal.report.density_pictures import DensityTeller
from caudal.report.distilled import (
    Distilled,
    DistilledRows,
    ScreenTable,
    compare_students,
    verdict,
)
from caudal.report.evaluation import Evaluation
from caudal.report.fidelity import Fidelity, measure
from caudal.report.film import folder_of
from caudal.report.gaussian import Gaussian, PixelGaussian
from caudal.report.guide import Guide
from caudal.report.images.filmstrip import Filmstrip
from caudal.report.images.guide import ImageGuide
from caudal.report.images.sheets import draw_manifold, unlike
from caudal.report.images.teller import ImageTeller
from caudal.report.numbers import number, parameters, plus_minus
from caudal.report.page import Story, Teller, write_figure, write_report
from caudal.report.recognition import Recognition, recognise, told_labels
from caudal.report.scoring import evaluate, log_prob_items
from caudal.report.speed import SamplingSpeed, sampling_speed
from caudal.report.table.film import ColumnsFilm
from caudal.report.table.guide import TableGuide
from caudal.report.table.judge import score_samples
from caudal.report.table.pixels import image_side, write_table_manifold
from caudal.report.table.scoreboard import Scoreboard
from caudal.report.table.target import TargetJudge
from caudal.report.table.teller import TableTeller
from caudal.report.tensors import TensorTeller
from caudal.report.two_sample import TwoSample, column_distances, two_sample
from caudal.training.progress import duration

__all__ = [
    "LAGS",
    "ColumnsFilm",
    "CopiesFilm",
    "Copula",
    "Copying",
    "DensityEvaluation",
    "DensityTeller",
    "AudioGuide",
    "AudioTeller",
    "Autoregression",
    "Baseline",
    "Distilled",
    "DistilledAudio",
    "DistilledRows",
    "Evaluation",
    "Fidelity",
    "Filmstrip",
    "Gaussian",
    "Guide",
    "ImageGuide",
    "ImageTeller",
    "TargetJudge",
    "PixelGaussian",
    "Recognition",
    "SamplingSpeed",
    "Scoreboard",
    "SpectralPrediction",
    "ScreenTable",
    "Story",
    "TableGuide",
    "TableTeller",
    "Teller",
    "TensorTeller",
    "TwoSample",
    "column_distances",
    "compare_audio",
    "compare_students",
    "copy_clips",
    "copying_seconds",
    "draw_manifold",
    "duration",
    "evaluate",
    "evaluate_density",
    "folder_of",
    "image_side",
    "load_baseline",
    "log_prob_items",
    "measure",
    "number",
    "parameters",
    "plus_minus",
    "recognise",
    "sampling_speed",
    "score_samples",
    "told_labels",
    "save_baseline",
    "two_sample",
    "unlike",
    "verdict",
    "write_figure",
    "write_report",
    "write_table_manifold",
]
