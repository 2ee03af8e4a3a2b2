"""Test scores after equal seconds of one core: caudal beside four libraries and two baselines.

    pip install '.[peers,flowjax]' pandas
    python benchmarks/equal_time.py                        every cell that is not there yet
    python benchmarks/equal_time.py --data power --budgets 10 60 --seeds 1
    python benchmarks/equal_time.py --tell                 the page and the picture, of all cells

caudal has its defaults and the time (`minutes`); the others have what their documentation
recommends, until the time is out, and their best weights by validation. The libraries run at once
on the same core, and each is given as many CPU seconds as the budget says: so whatever else the
machine does befalls all of them. Imports are not counted; what JAX compiles is.

Each cell (data, library, budget, seed) is a line of equal_time.jsonl as soon as it is done, and is
not run again unless `--again` says so; the last line of a cell counts. `library:flow`, such as
`nflows:moons`, is another documented flow of a library. In each cell the page has that flow of a
library which validates best.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

from environment import RESULTS, describe
from equal_time_data import DATA, IMAGES, prepare
from tables import DATA_DIR

LIBRARIES = (
    "caudal",
    "zuko",
    "nflows",
    "nflows:moons",
    "normflows",
    "normflows:realnvp",
    "flowjax",
)
"""Two flows of a library where the better one has too few steps in a small budget."""
BASELINES = ("Gaussian", "copula")
OF_IMAGES = ("caudal", "normflows:glow", "Gaussian")
"""What models images: the other libraries document no flow of images."""
AT_EACH_BUDGET = ("caudal", "nflows")
"""Their rate goes down with the time: a smaller budget is a training of its own."""
ONE_THREAD = {
    **dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"),
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
    "JAX_PLATFORMS": "cpu",
}
WORKERS = {"flowjax": "jax", "caudal": "caudal", "Gaussian": "caudal", "copula": "caudal"}
PACKAGES = {"flowjax": ("flowjax", "jax", "optax"), "caudal": ("caudal", "torch")}


@dataclass(frozen=True)
class Cell:
    """A score, and what it took. `score` is in `unit`; bits/dim are better when smaller."""

    data: str
    library: str
    budget: float
    seed: int
    score: float
    rows_se: float
    unit: str
    parameters: int
    steps: int
    seconds: float
    versions: str
    commit: str
    date: str
    machine: str
    valid: float | None = None

    @property
    def key(self) -> tuple[str, str, float, int]:
        return self.data, self.library, self.budget, self.seed


def read(path: Path) -> dict[tuple[str, str, float, int], Cell]:
    """The cells that are there, the latest of each key."""
    if not path.exists():
        return {}
    lines = path.read_text(encoding="utf-8").splitlines()
    return {cell.key: cell for cell in (Cell(**json.loads(line)) for line in lines)}


def libraries_of(data: str, libraries: list[str]) -> list[str]:
    """Which of the libraries model these data."""
    if data not in IMAGES:
        return libraries
    named = ["normflows:glow" if name == "normflows" else name for name in libraries]
    return [name for name in named if name in OF_IMAGES]


def jobs(library: str, budgets: list[float]) -> Iterator[list[float]]:
    """The budgets of each training."""
    if library in AT_EACH_BUDGET:
        yield from ([budget] for budget in budgets)
    elif budgets:
        yield budgets


class Runner:
    """Runs workers on one core, and appends what they tell to the file of cells."""

    def __init__(self, path: Path, core: int) -> None:
        self.path, self.core, self.facts = path, core, describe()
        self.path.parent.mkdir(parents=True, exist_ok=True)

    def together(self, folder: Path, budgets: dict[str, list[float]], seed: int) -> None:
        """All libraries at once; each does its trainings one after the other."""
        with ThreadPoolExecutor(max(1, len(budgets))) as pool:
            done = [
                pool.submit(self._trainings, folder, library, todo, seed)
                for library, todo in budgets.items()
            ]
        for one in done:
            one.result()

    def _trainings(self, folder: Path, library: str, budgets: list[float], seed: int) -> None:
        for todo in jobs(library, budgets):
            self._work(folder, library, todo, seed)

    def _work(self, folder: Path, library: str, budgets: list[float], seed: int) -> None:
        name = library.split(":")[0]
        worker = Path(__file__).with_name(f"equal_time_{WORKERS.get(name, 'torch')}.py")
        job = {
            "library": library,
            "folder": str(folder),
            "budgets": budgets,
            "seed": seed,
            "core": self.core,
        }
        command = [sys.executable, str(worker), json.dumps(job)]
        pipe = {"stdout": subprocess.PIPE, "text": True, "env": {**os.environ, **ONE_THREAD}}
        with subprocess.Popen(command, **pipe) as process:
            for line in process.stdout or ():
                self._keep(line, name)
        if process.returncode:  # the others go on: a cell that failed is told and stays empty
            print(f"{folder.name} {library} seed {seed}: failed", file=sys.stderr, flush=True)

    def _keep(self, line: str, name: str) -> None:
        facts = {key: self.facts[key] for key in ("commit", "date", "machine")}
        packages = PACKAGES.get(name, PACKAGES["caudal"] if name in BASELINES else (name, "torch"))
        versions = ", ".join(f"{package} {_version(package)}" for package in packages)
        cell = Cell(**json.loads(line), versions=versions, **facts)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(cell)) + "\n")
        print(
            f"{cell.data} {cell.library} {cell.budget:g} s, seed {cell.seed}: {cell.score:.3f} "
            f"{cell.unit} ({cell.steps:,} steps, {cell.seconds:.1f} s)",
            flush=True,
        )


def _version(package: str) -> str:
    if package == "caudal":
        import caudal

        return getattr(caudal, "__version__", "of this commit")
    return version(package)


def run(options: argparse.Namespace, path: Path) -> None:
    done = {} if options.again else read(path)
    runner = Runner(path, options.core)
    budgets = sorted(options.budgets)
    with tempfile.TemporaryDirectory() as folder:
        for data in options.data:
            try:
                arrays = prepare(data, options.data_dir, Path(folder))
            except FileNotFoundError as error:
                print(f"{data}: left out, {error.filename} is not there (see --data-dir)")
                continue
            for library in libraries_of(data, list(BASELINES)):
                if (data, library, 0, 0) not in done:
                    runner.together(arrays, {library: [0]}, 0)
            for seed in range(options.seeds):
                missing = {
                    library: [b for b in budgets if (data, library, b, seed) not in done]
                    for library in libraries_of(data, options.libraries)
                }
                runner.together(arrays, {k: v for k, v in missing.items() if v}, seed)


def main() -> None:
    options = parse()
    path = options.out / "equal_time.jsonl"
    if options.tell:
        from equal_time_tell import tell

        tell(read(path), path.with_suffix(".md"), options.picture)
    else:
        run(options, path)


def parse() -> argparse.Namespace:
    summary = (__doc__ or "").split("\n")[0]
    parser = argparse.ArgumentParser(description=summary)
    parser.add_argument("--data", nargs="+", choices=DATA, default=list(DATA))
    parser.add_argument("--libraries", nargs="+", default=list(LIBRARIES))
    parser.add_argument("--budgets", nargs="+", type=float, default=[10, 60, 300], help="seconds")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--core", type=int, default=max(os.sched_getaffinity(0)))
    parser.add_argument("--again", action="store_true", help="run cells that are there already")
    parser.add_argument("--tell", action="store_true", help="write the page and the picture")
    parser.add_argument("--data-dir", type=Path, default=DATA_DIR)
    parser.add_argument("--out", type=Path, default=RESULTS)
    picture = RESULTS.parents[1] / "docs" / "images" / "equal_time.png"
    parser.add_argument("--picture", type=Path, default=picture)
    return parser.parse_args()


if __name__ == "__main__":
    main()
