"""Audio: what clips are, where they come from, and how samples go back to files."""
