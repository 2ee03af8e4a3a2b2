"""The context of clips, frame by frame: codes of labels, and the spectrum."""

from dataclasses import dataclass

import torch
from torch import Tensor

from caudal.data.audio.mel import framed_log_mel, margins
from caudal.data.audio.schema import AudioSchema


@dataclass(frozen=True)
class Frames:
    """Makes the context of crops from their samples and those around them."""

    schema: AudioSchema

    @property
    def reach(self) -> tuple[int, int]:
        """How many samples before and after a crop its spectrum depends on."""
        if not self.schema.mels:
            return 0, 0
        before, after = margins(self.schema.hop, self.schema.window)
        return max(0, before), max(0, after)

    def context(self, wide: Tensor, codes: Tensor) -> Tensor | None:
        """The context (B, C + mels, F) of crops with their surroundings.

        Args:
            wide: whole numbers (B, before + F hop + after), as `reach` says.
            codes: of the labels, (B, C).
        """
        schema = self.schema
        if not schema.mels:
            return codes[:, :, None] if len(schema.context) else None
        before, after = margins(schema.hop, schema.window)
        inner = wide[:, max(0, -before) : wide.shape[1] - max(0, -after)]
        sizes = schema.rate, schema.hop, schema.window, schema.mels
        mels = framed_log_mel(inner / schema.full_scale, *sizes)
        constant = codes[:, :, None].expand(-1, -1, mels.shape[2])
        return torch.cat([constant, mels], dim=1)  # (B, C + mels, F)
