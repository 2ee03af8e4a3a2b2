"""A modality: what caudal does for one kind of data, and for that alone.

Training, evaluation, the report, the commands and the run object are written once. Where the kinds
of data differ they ask the modality, so a further kind is one more class, and no `if` anywhere.
"""

from caudal.modality.protocol import Modality
from caudal.modality.registry import MODALITIES, assemble, modality, modality_of, opening
from caudal.modality.requests import Examples, Nothing, Request, Requests
from caudal.modality.voice import Voice, Watch

__all__ = [
    "MODALITIES",
    "Examples",
    "Modality",
    "Nothing",
    "Request",
    "Requests",
    "Voice",
    "Watch",
    "assemble",
    "modality",
    "modality_of",
    "opening",
]
