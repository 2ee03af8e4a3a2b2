"""Writes the golden numbers anew: `python tests/golden/make.py [CASE ...]`.

They pin what the command line computes. Each change of a golden must be explained in the commit
that makes it: which numbers changed, and why.
"""

import sys
import tempfile
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from golden_runs import CASES, write  # noqa: E402

if __name__ == "__main__":
    torch.set_num_threads(1)
    names = sys.argv[1:] or [case.__name__ for case in CASES]
    for case in CASES:
        if case.__name__ in names:
            start = time.monotonic()
            with tempfile.TemporaryDirectory() as folder:
                write(case, folder)
            print(f"{case.__name__}: {time.monotonic() - start:.1f} s")
