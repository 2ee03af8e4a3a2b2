"""Numbers, pictures, sounds and the page that tell how good a run on audio is."""

from caudal.report.sound.autoregression import (
    Autoregression,
    fit_autoregression,
    load_autoregression,
    save_autoregression,
)
from caudal.report.sound.copies import Copy, clips_to_copy, draw_copies
from caudal.report.sound.distilled import DistilledAudio, SamplingRate, compare_sounds
from caudal.report.sound.divergence import kl_per_sample
from caudal.report.sound.evaluate import evaluate_audio
from caudal.report.sound.evaluation import AudioEvaluation
from caudal.report.sound.measures import CopyMeasures, measure_copies
from caudal.report.sound.players import write_sounds
from caudal.report.sound.rates import sampling_rates
from caudal.report.sound.spectra import log_spectral_distance, loudness_error, stft_distance
from caudal.report.sound.story import AudioStory
from caudal.report.sound.write import write_audio_report

__all__ = [
    "AudioEvaluation",
    "AudioStory",
    "Autoregression",
    "Copy",
    "CopyMeasures",
    "DistilledAudio",
    "SamplingRate",
    "clips_to_copy",
    "compare_sounds",
    "draw_copies",
    "evaluate_audio",
    "fit_autoregression",
    "kl_per_sample",
    "load_autoregression",
    "log_spectral_distance",
    "loudness_error",
    "measure_copies",
    "sampling_rates",
    "save_autoregression",
    "stft_distance",
    "write_audio_report",
    "write_sounds",
]
