"""Mirror images, of which natural pictures are as likely as of themselves."""

import torch

from caudal.data.source import Batch


def flipped(batch: Batch) -> Batch:
    """Images (B, C, H, W), each mirrored left to right, or not, with equal chance."""
    x = batch.x
    mirrored = torch.rand(len(x), device=x.device) < 0.5
    return Batch(torch.where(mirrored[:, None, None, None], x.flip(-1), x), batch.context)
