"""A local page over a run: see `caudal explore`."""
