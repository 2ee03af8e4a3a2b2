"""Training: the loop, what it writes, and how that is loaded again."""
