"""What listens to copies of speech: a recogniser of digits, STOI, PESQ, a predicted opinion."""

import math
import warnings
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from caudal.data import Dataset
from caudal.data.audio import log_mel
from caudal.report.audio.copies import Copy
from caudal.report.numbers import mean_two_se

Cell = dict[str, Any]
BANDS, FRAMES, DEEP = 64, 32, 5.0
"""Of the pictures that digits are told by: log-mels down to 5 nepers below the loudest."""
TOGETHER = 10
"""Clips that are joined before they are judged: one digit is too short for STOI and PESQ."""
JUDGED = (
    ("stoi", "STOI", 3),
    ("pesq", "PESQ, narrow band", 2),
    ("opinion", "opinion predicted by DNSMOS", 2),
)


class Recogniser:
    """Tells spoken digits apart, from the recordings of the training clips alone.

    A support vector machine over log-mels, stretched to as many frames whatever the length, and
    relative to the loudest: neither length nor level says which digit it is.
    """

    def __init__(self, dataset: Dataset) -> None:
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler
        from sklearn.svm import SVC

        clips, self.schema = dataset.train, dataset.schema
        scale = self.schema.full_scale
        waves = [amplitudes(clips.clip(i).x, scale) for i in range(len(clips.names))]
        self.model = make_pipeline(StandardScaler(), SVC(C=10.0))
        self.model.fit(self._pictures(waves), [digit_of(name) for name in clips.names])

    def score(self, waves: list[Tensor], names: list[str]) -> Cell:
        said = self.model.predict(self._pictures(waves))
        right = torch.tensor([a == digit_of(b) for a, b in zip(said, names, strict=True)]).double()
        share = float(right.mean())
        two_se = 2 * math.sqrt(share * (1 - share) / len(right))
        return {"recognised": [share, two_se], "copies": len(right)}

    def _pictures(self, waves: list[Tensor]) -> np.ndarray:
        hop, window = self.schema.rate // 100, self.schema.rate // 40
        found = []
        for wave in waves:
            mels = log_mel(wave[None], self.schema.rate, hop, window, BANDS)
            mels = F.interpolate(mels, FRAMES, mode="linear", align_corners=False)
            found.append((mels - mels.amax()).clamp(min=-DEEP).flatten())
        return torch.stack(found).numpy()


def judged(copies: list[Copy], rate: int, together: int = TOGETHER) -> Cell:
    """What each ear says of copies, ten joined, with errors; none without its package."""
    values = judgements(copies, rate, together)
    return {name: mean_two_se(some) for name, some in values.items()}


def judgements(copies: list[Copy], rate: int, together: int = TOGETHER) -> dict[str, Tensor]:
    """What each ear says of each group of copies that are joined; none without its package."""
    groups = [copies[i : i + together] for i in range(0, len(copies), together)]
    pairs = [[_joined([getattr(c, side) for c in some]) for side in SIDES] for some in groups]
    said = {}
    for name, ear in EARS.items():
        try:
            values = [ear(original, sample, rate) for original, sample in pairs]
        except ModuleNotFoundError:  # of the extra `ears`
            continue
        said[name] = torch.tensor(values).double()
    return said


def _stoi(original: np.ndarray, sample: np.ndarray, rate: int) -> float:
    from pystoi import stoi

    with warnings.catch_warnings():
        warnings.simplefilter("error")  # of a sound too short it is no number
        return float(stoi(original, sample, rate))


def _pesq(original: np.ndarray, sample: np.ndarray, rate: int) -> float:
    """PESQ of telephones, which hear 8 or 16 kHz: other rates are brought to the latter."""
    from pesq import pesq

    if rate not in (8000, WIDE):
        rate, original, sample = WIDE, _wide(original, rate), _wide(sample, rate)
    return float(pesq(rate, original, sample, "nb"))


def _opinion(original: np.ndarray, sample: np.ndarray, rate: int) -> float:
    """The opinion that a net predicts listeners to have of a sample, from 1 to 5."""
    return float(_dnsmos()(_wide(sample, rate).clip(-1, 1), WIDE, False)["ovrl_mos"])


@lru_cache
def _dnsmos() -> Any:
    """The net of the package speechmos, on one thread."""
    from onnxruntime import InferenceSession, SessionOptions
    from speechmos import dnsmos

    folder, options = Path(dnsmos.__file__).parent / "dnsmos_models", SessionOptions()
    options.intra_op_num_threads = 1
    paths = [str(folder / name) for name in ("sig_bak_ovr.onnx", "model_v8.onnx")]
    net = dnsmos.DNSMOS(*paths)
    net.onnx_sess, net.p808_onnx_sess = (InferenceSession(path, options) for path in paths)
    return net


EARS = {"stoi": _stoi, "pesq": _pesq, "opinion": _opinion}
WIDE = 16_000  # Hz


def _wide(wave: np.ndarray, rate: int) -> np.ndarray:
    from soxr import resample

    found: np.ndarray = resample(wave, rate, WIDE)
    return found


SIDES = ("original", "sample")


def _joined(waves: list[Tensor]) -> np.ndarray:
    return torch.cat(waves).numpy()


def digit_of(name: str) -> str:
    """Of a clip's name, such as 7_jackson_32.flac."""
    return Path(name).name.split("_")[0]


def amplitudes(x: Tensor, full_scale: int) -> Tensor:
    return x[0].float() / full_scale
