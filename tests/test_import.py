"""`import caudal` imports nothing heavy: what is needed comes when it is used."""

import subprocess
import sys

import pytest

import caudal

HEAVY = ("lightning_fabric", "pyarrow", "matplotlib", "tyro", "rich", "safetensors", "sklearn")
HEAVY = (*HEAVY, "torch._dynamo")  # the compiler
LISTING = (*HEAVY, "torch", "numpy", "yaml", "PIL", "soundfile", "numba")
BUILDING = "caudal.recipes.MAF(layers=1, hidden=(4,)).build((2,))"


def loaded(code, modules):
    """Which of the modules a fresh Python has imported after the code."""
    script = f"{code}\nimport sys; print([name for name in {modules} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


def test_import_is_light():
    assert loaded("import caudal; assert 'Flow' in dir(caudal)", LISTING) == "[]"


def test_building_a_flow_imports_torch_alone():
    # What torch itself imports is left out: NumPy.
    assert loaded(f"import caudal; {BUILDING}", HEAVY) == "[]"


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["recipes"], ["recipes", "--json"]])
def test_commands_that_only_list_are_light(words):
    assert loaded(f"from caudal.cli import main; assert main({words}) == 0", LISTING) == "[]"


@pytest.mark.parametrize("name", caudal.__all__)
def test_every_public_name_is_there(name):
    assert getattr(caudal, name) is not None


def test_dir_lists_what_there_is_and_nothing_else():
    assert set(caudal.__all__) <= set(dir(caudal))
    assert all(getattr(caudal, name) is not None for name in dir(caudal))
    assert not {"annotations", "import_module", "Any", "TYPE_CHECKING"} & set(dir(caudal))
    assert not [name for name in dir(caudal) if name.startswith("_")]


def test_modules_are_imported_when_they_are_used():
    assert loaded("import caudal; caudal.data.open_data", ["pyarrow"]) == "['pyarrow']"


def test_unknown_names_are_refused():
    with pytest.raises(AttributeError, match="no attribute 'fti'"):
        _ = caudal.fti
