"""Which loss makes the best student for a given budget: distillation on real tables.

    python benchmarks/distill.py

A teacher a table, then students of equal budget, each measured on 10,000 samples of both.
"""

import argparse
import json
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

import caudal
from caudal import Distillation, Training
from caudal.recipes import IAF, MAF, NSF, NSFAR, NSFIAF, Recipe
from caudal.report import Fidelity, measure, sampling_speed, verdict
from environment import RESULTS, describe, lines, table, write, write_json
from tables import DATA_DIR, Table, digits, miniboone, power

FORWARD = Distillation(forward=1, guide=0)
GUIDED = Distillation(forward=1, guide=1)
GUIDE = Distillation(forward=0, guide=1)
REVERSE = Distillation(forward=0, guide=0, reverse=1, path=False)
PATH = Distillation(forward=0, guide=0, reverse=1)
BOTH = Distillation(forward=1, guide=1, reverse=0.1, path=False)
BOTH_PATH = Distillation(forward=1, guide=1, reverse=0.1)
WAYS = {
    "both + 0.1 KL(student‖teacher)": BOTH,
    "KL(teacher‖student) + guidance": GUIDED,
    "KL(teacher‖student)": FORWARD,
    "guidance": GUIDE,
    "both + 0.1 KL(student‖teacher), path": BOTH_PATH,
    "KL(student‖teacher), path": PATH,
    "KL(student‖teacher)": REVERSE,
}


@dataclass(frozen=True)
class Job:
    """A teacher, its training, and the students with theirs."""

    table: str
    teacher: Recipe
    teaching: Training
    student: Training
    recipes: tuple[Recipe, ...]
    all_ways: bool = False
    """Whether every loss is tried on the first student; else the default alone."""


def _training(steps: int, batch: int = 256, lr: float = 2e-3, **options: Any) -> Training:
    every = max(1, steps // 10)
    return Training(
        steps=steps, batch_size=batch, lr=lr, validate_every=every, patience=0, **options
    )


JOBS = {
    "power": Job(
        "power",
        MAF(5, (128, 128)),
        _training(6000, 512),
        _training(4000),
        (IAF(5, (128, 128)), NSF(5, 64, bound=5.0)),
        all_ways=True,
    ),
    "power-nsf-ar": Job(
        "power",
        NSFAR(4, 64),
        _training(3000, 512),
        _training(1500),
        (NSFIAF(4, 64), NSF(5, 64)),
    ),
    "miniboone": Job(
        "miniboone",
        MAF(5, (64, 64)),
        _training(600, 128, 1e-3, weight_decay=0.1),
        _training(1500),
        (IAF(5, (128, 128)),),
    ),
    "digits": Job(
        "digits",
        MAF(5, (128, 128)),
        _training(900, 64, 1e-3, weight_decay=0.1),
        _training(1500),
        (IAF(5, (128, 128)),),
    ),
    "power-long": Job(
        "power",
        MAF(5, (128, 128)),
        _training(6000, 512),
        _training(6000),
        (IAF(5, (256, 256)),),
    ),
}


def teach(job: Job, data: Table) -> caudal.Flow:
    torch.manual_seed(0)
    flow = job.teacher.build((data.features,))
    caudal.fit(flow, data.train, data.val, training=job.teaching)
    return flow.eval()


def learn(
    recipe: Recipe, teacher: caudal.Flow, way: Distillation, training: Training
) -> tuple[caudal.Flow, float]:
    from caudal.training.student import share_mixing

    torch.manual_seed(1)
    student = recipe.build(teacher.event_shape)
    share_mixing(student, teacher)
    start = time.perf_counter()
    caudal.distill(student, teacher, options=way, training=training)
    return student, time.perf_counter() - start


def row(job: Job, recipe: Recipe, name: str, seconds: float, f: Fidelity) -> list[str]:
    return [
        job.table,
        job.teacher.name,
        recipe.name,
        name,
        f"{f.forward_kl_per_dim:.3g}",
        f"{f.reverse_kl_per_dim:.3g}",
        f"{f.ess:.1%}",
        f"{f.pareto_k:.2f}",
        f"{f.missed:.2%}",
        f"{f.auc:.3f} ± {2 * f.auc_se:.3f}",
        f"{seconds:.0f}",
        verdict(f)[0].split(":")[0],
    ]


HEAD = ["table", "teacher", "student", "loss", "KL(t‖s) / D", "KL(s‖t) / D", "effective size"]
HEAD += ["Pareto k", "missed", "AUC", "seconds", "verdict"]


def report(rows: list[list[str]], speeds: list[list[str]], facts: dict[str, str]) -> str:
    budgets = [
        f"- {name}: teacher {job.teacher}, {job.teaching.steps} steps of "
        f"{job.teaching.batch_size}; students {job.student.steps} steps of "
        f"{job.student.batch_size}, lr {job.student.lr:g}"
        for name, job in JOBS.items()
    ]
    speed_head = ["table", "teacher", "student", "rows", "D passes ms", "stepping ms"]
    speed_head += ["student ms", "D passes / student", "stepping / student"]
    return "\n".join(
        [
            "# Distillation: which loss makes the best student",
            "",
            *lines(facts),
            *budgets,
            "",
            "KL in nats a number, of 10,000 samples of each: t the teacher, s the student.",
            "KL(s‖t) is a mean that a few samples can spoil, where the teacher's density is next",
            "to nothing; effective size and classifier are not spoilt so.",
            "",
            *table(HEAD, rows),
            "",
            "Milliseconds to sample:",
            "",
            *table(speed_head, speeds),
            "",
        ]
    )


class Record:
    """The rows done so far, in a .json file: an interrupted run goes on where it was."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.students: list[list[str]] = []
        self.speeds: list[list[str]] = []
        self.keys: list[list[str]] = []
        if path.exists():
            stored = json.loads(path.read_text(encoding="utf-8"))
            self.students, self.speeds = stored["students"], stored["speeds"]
            self.keys = stored["keys"]

    def add(self, key: list[str], row: list[str], facts: dict[str, str]) -> None:
        self.keys.append(key)
        self.students.append(row)
        self.write(facts)
        print(" | ".join(row), flush=True)

    def write(self, facts: dict[str, str]) -> None:
        kept = {"keys": self.keys, "students": self.students, "speeds": self.speeds}
        write_json(self.path, {**facts, **kept})
        write(self.path.with_suffix(".md"), report(self.students, self.speeds, facts))


def run(name: str, job: Job, options: argparse.Namespace, record: Record) -> None:
    facts = describe()
    loaders = {"power": power, "miniboone": miniboone, "digits": digits}
    data = loaders[job.table](options.data_dir)
    teacher = teach(job, data)
    for recipe in job.recipes:
        every = job.all_ways and recipe is job.recipes[0]
        tried = WAYS if every else {next(iter(WAYS)): BOTH}
        student = None
        for way_name, way in tried.items():
            key = [name, recipe.name, way_name]
            if key not in record.keys:
                student, seconds = learn(recipe, teacher, way, job.student)
                fidelity = measure(student, teacher)
                record.add(key, row(job, recipe, way_name, seconds, fidelity), facts)
        if student is None:
            continue
        for speed in sampling_speed(student, teacher):
            ms = (speed.passes_ms, speed.stepping_ms, speed.student_ms)
            cells = ["" if v is None else f"{v:,.2f}" for v in ms]
            ratios = (speed.passes_ratio, speed.stepping_ratio)
            cells += ["" if v is None else f"{v:,.1f}" for v in ratios]
            record.speeds.append(
                [job.table, job.teacher.name, recipe.name, f"{speed.n:,}", *cells]
            )
        record.write(facts)


def main() -> None:
    options = parse()
    torch.set_num_threads(options.threads)
    record = Record(options.out / "distill.json")
    for name in options.jobs:
        job = JOBS[name]
        if options.steps:
            short = _training(options.steps, 64)
            job = replace(job, teaching=short, student=short)
        run(name, job, options, record)
    print(record.path.with_suffix(".md").read_text(encoding="utf-8"))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--jobs", nargs="+", choices=JOBS, default=list(JOBS))
    parser.add_argument("--steps", type=int, help="of everything, for a quick look")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--data-dir", type=Path, default=DATA_DIR)
    parser.add_argument("--out", type=Path, default=RESULTS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
