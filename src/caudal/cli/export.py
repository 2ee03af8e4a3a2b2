"""`caudal export`: a run as ONNX graphs, which run without Python."""

from dataclasses import dataclass

from tyro.conf import FlagCreatePairsOff, Positional

from caudal.cli.screen import Screen
from caudal.cli.words import parse
from caudal.model import load


@dataclass(frozen=True)
class ExportOptions:
    """Writes the density of a run as an ONNX graph, and a second graph of its samples.

    The first takes x, the rows as the schema in its metadata encodes them, and gives log_prob, in
    nats a row, for any number of rows. The second, with -sample at the end of its name, takes
    noise z and gives x. Both take the context, if the run has one. Where values in steps are
    filled with noise, the first takes uniform numbers, too. The metadata also have the recipe and
    the threshold of an alarm. ONNX Runtime checks the numbers. It needs caudal[onnx].
    """

    run: Positional[str]
    """Run folder, or a model file."""
    out: str
    """The file to write, such as model.onnx."""
    overwrite: FlagCreatePairsOff[bool] = False
    """Replace files that are there."""
    json: FlagCreatePairsOff[bool] = False
    """Print the result as one JSON object on standard output, all else on standard error."""


def run(words: list[str]) -> int:
    """Runs the command."""
    options = parse(ExportOptions, words, "caudal export")
    screen = Screen(options.json)
    made = load(options.run, device="cpu", voice=screen).export(
        options.out, overwrite=options.overwrite
    )
    inputs = ", ".join(f"{name} {shape}" for name, shape in made.inputs.items())
    screen.say(f"{made.density}: log_prob of {inputs}, in nats a row")
    if made.sampler is None:
        screen.note("the flow samples by iteration, which no graph holds: there is no sampler")
    else:
        screen.say(f"{made.sampler}: x of noise z")
    screen.say(f"ONNX Runtime gives the same numbers, to {made.difference:.1g} of their size")
    sampler = None if made.sampler is None else str(made.sampler)
    screen.result(
        {
            "density": str(made.density),
            "sampler": sampler,
            "inputs": {name: list(shape) for name, shape in made.inputs.items()},
            "difference": made.difference,
        }
    )
    return 0
