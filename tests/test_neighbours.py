"""The examples that need packages which are not part of the development extra."""

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parent.parent / "docs" / "neighbours.md"
FENCE = re.compile(r"^```(python|py)\n(.*?)^```$", re.M | re.S)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("package", ["sbi", "pyro"])
def test_the_example_of_a_package_runs(package, tmp_path, monkeypatch):
    pytest.importorskip(package, reason=f"the package {package} is not installed")
    pytest.importorskip("zuko", reason="the package zuko is not installed")
    monkeypatch.chdir(tmp_path)
    blocks = FENCE.findall(PAGE.read_text("utf-8"))
    chosen = [
        code
        for kind, code in blocks
        if kind == "python" or re.search(rf"^(import|from) {package}\b", code, re.M)
    ]
    assert len(chosen) == 1 + sum(kind == "python" for kind, _ in blocks)
    exec(compile("\n".join(chosen), str(PAGE), "exec"), {"__name__": "__page__"})


def test_each_example_belongs_to_a_package():
    needing = [code for kind, code in FENCE.findall(PAGE.read_text("utf-8")) if kind == "py"]
    assert ["sbi" in code for code in needing] == [True, False]
    assert "import pyro" in needing[1]
