"""`import caudal` stays light: heavy parts come when they are used."""

import subprocess
import sys

import pytest

import caudal

HEAVY = ("lightning_fabric", "pyarrow", "matplotlib", "tyro", "rich", "safetensors", "sklearn")
# What torch itself brings is not ours to answer for.
SCRIPT = f"""
import sys, torch
before = set(sys.modules)
import caudal
assert set(dir(caudal)) >= {{"Flow", "recipes"}}
caudal.recipes.MAF(layers=1, hidden=(4,)).build((2,))
print([name for name in {HEAVY} if name in set(sys.modules) - before])
"""


def test_import_is_light():
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", caudal.__all__)
def test_every_public_name_is_there(name):
    assert getattr(caudal, name) is not None


def test_unknown_names_are_refused():
    with pytest.raises(AttributeError, match="no attribute 'fti'"):
        _ = caudal.fti
