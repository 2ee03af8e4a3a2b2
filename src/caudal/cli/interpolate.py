"""`caudal interpolate`: what lies between four images."""

from caudal.cli.options import InterpolateOptions, open_run
from caudal.cli.screen import Screen
from caudal.model.interpolating import CORNERS
from caudal.report import number


def run(words: list[str]) -> int:
    """Runs the command."""
    options, model = open_run(InterpolateOptions, words, "caudal interpolate", "reading")
    screen = Screen(options.json)
    made = model.interpolate(
        options.out,
        data=options.data,
        rows=options.rows,
        n=options.n,
        seed=options.seed,
        overwrite=options.overwrite,
        **vars(options.kind),
    )
    many = model.schema.many
    screen.say(f"{options.out}: between four {many} of {options.run} (seed {options.seed})")
    screen.table(["", ""], list(zip(CORNERS, made.names, strict=True)))
    error = made.corner_error
    off = "as they were" if error == 0 else f"with values off by up to {number(error, 3)}"
    screen.say(f"corners: the four {many} came back {off}")
    screen.result({"out": options.out, "corners": made.names, "corner_error": error})
    return 0
