"""A short run of the fuzzer: `make fuzz` is the long one."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
COUNT = 4  # of each


@pytest.mark.skipif(not hasattr(os, "fork"), reason="attacks are on forks")
def test_damaged_files_and_hostile_arguments_end_in_errors_of_ours(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import fuzz

    fuzz.prepare_more(tmp_path)
    for name, (_, read) in fuzz.FILES.items():
        read(tmp_path / name)  # whole, as attacks on what cannot be read show nothing
    found = {
        f"{name}, seed {seed}": wrong
        for name in (*fuzz.FILES, *fuzz.CALLS)
        for seed, wrong in fuzz.fuzz(tmp_path, name, range(COUNT))
    }
    assert not found


def test_the_fuzzer_notices(monkeypatch, tmp_path):
    """A reader that fails, and one that ends its process."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import fuzz
    from mutations import flip

    (tmp_path / "x").write_bytes(b"abc")
    for read, said in (
        (lambda file: 1 / 0, "ZeroDivisionError"),
        (lambda file: os.kill(os.getpid(), 9), "signal 9"),
    ):
        monkeypatch.setitem(fuzz.FILES, "x", ((flip,), read))
        wrong = dict(fuzz.fuzz(tmp_path, "x", range(3)))
        assert wrong.keys() == {0, 1, 2}
        assert all(said in how for how in wrong.values())
