"""`import caudal` imports nothing heavy: what is needed comes when it is used."""

import subprocess
import sys

import pytest

import caudal

HEAVY = (
    "torch._dynamo", "lightning_fabric", "pyarrow", "matplotlib", "tyro", "rich", "safetensors",
    "sklearn",
)  # fmt: skip
LISTING = (*HEAVY, "torch", "numpy", "yaml", "PIL", "soundfile", "numba")
REPORTING = ("matplotlib", "sklearn", "jinja2", "soundfile")
BUILDING = "caudal.recipes.MAF(layers=1, hidden=(4,)).build((2,))"


def loaded(code, modules):
    """What the code prints, and which of the modules a fresh Python has imported after it."""
    script = f"{code}\nimport sys; print([name for name in {modules} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_import_is_light():
    assert loaded("import caudal; assert 'Flow' in dir(caudal)", LISTING) == ["[]"]


def test_modules_are_imported_when_they_are_used():
    # What torch itself imports is left out: NumPy.
    told = "import sys; print([name for name in {} if name in sys.modules])"
    code = f"import caudal; {BUILDING}; {told.format(HEAVY)}; import caudal.report"
    code = f"{code}; {told.format(REPORTING)}; caudal.data.open_data"
    code = f"{code}; {told.format(['pyarrow'])}; import caudal.report.calibration"
    scipy = ("scipy.linalg", "scipy.optimize", "scipy.stats")
    assert loaded(code, scipy) == ["[]", "[]", "['pyarrow']", "[]"]


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["recipes"], ["recipes", "--json"]])
def test_commands_that_only_list_are_light(words):
    assert loaded(f"from caudal.cli import main; assert main({words}) == 0", LISTING)[-1] == "[]"


def test_dir_lists_what_there_is_and_nothing_else():
    assert set(caudal.__all__) <= set(dir(caudal))
    assert all(getattr(caudal, name) is not None for name in dir(caudal))
    assert not {"annotations", "import_module", "Any", "TYPE_CHECKING"} & set(dir(caudal))
    assert not [name for name in dir(caudal) if name.startswith("_")]


def test_unknown_names_are_refused():
    with pytest.raises(AttributeError, match="no attribute 'fti'"):
        _ = caudal.fti
