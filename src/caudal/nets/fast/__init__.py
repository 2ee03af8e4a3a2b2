"""Fast ways through causal nets, with the results of the plain ones.

`caudal.nets.masked` and `caudal.nets.wavenet` read as their papers do, and ask this room first.
Each function returns None where the plain version is needed, or faster. Tests hold both equal.

- `staircase`: products with the masked matrices of MADE, which skip most of their zeros;
- `blocks`: MADE one element at a time, at about the price of one pass;
- `dilated`: WaveNet over a whole clip in chunks of time that fit the cache, with its gradient;
- `queues`: WaveNet one sample at a time, without computing anything twice;
- `kernels`, `loops`, `maps`: all steps in one loop compiled by Numba, an optional extra.
"""

from caudal.nets.fast.blocks import Unrolled, unroll_masked
from caudal.nets.fast.dilated import clip_in_pieces, whole_clip
from caudal.nets.fast.queues import Queues, unroll_in_pieces, unroll_wavenet
from caudal.nets.fast.staircase import cuts_of, staircase_product

__all__ = [
    "Queues",
    "Unrolled",
    "clip_in_pieces",
    "cuts_of",
    "staircase_product",
    "unroll_in_pieces",
    "unroll_masked",
    "unroll_wavenet",
    "whole_clip",
]
