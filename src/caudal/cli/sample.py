"""`caudal sample`: new rows, images or clips out of a run, in a file of the user's own format."""

from caudal.cli.options import SampleOptions, open_run
from caudal.cli.screen import Screen


def run(words: list[str]) -> int:
    """Runs the command."""
    options, model = open_run(SampleOptions, words, "caudal sample", "drawing")
    screen = Screen(options.json)
    written = model.write_samples(
        options.out,
        options.n,
        seed=options.seed,
        temperature=options.temperature,
        sweeps=options.sweeps,
        overwrite=options.overwrite,
        **vars(options.kind),
    )
    n, schema = written.samples, model.schema
    what = schema.one if n == 1 else schema.many
    screen.say(f"{options.out}: {n:,} {what} sampled from {options.run} (seed {options.seed})")
    if options.temperature != 1:
        heat = f"at temperature {options.temperature:g}"
        screen.note(f"{heat} these are no samples of the density")
    if written.summary is not None:
        written.summary.tell(screen)
    screen.result(written.to_dict())
    return 0
