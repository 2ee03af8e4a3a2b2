"""The command line computes what it computed: runs beside the numbers in tests/golden.

On the machine that made the goldens, numbers are equal to the bit; on another one, nearly. Where
a change of numbers is meant, `python tests/golden/make.py` writes them anew.
"""

import pytest

from golden_runs import CASES, differences

pytestmark = pytest.mark.usefixtures("all_rounds", "one_thread", "timed_once")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_same_numbers_as_before(case, tmp_path):
    lines = differences(case, tmp_path)
    assert not lines, f"{len(lines)} differences\n" + "\n".join(lines[:20])
