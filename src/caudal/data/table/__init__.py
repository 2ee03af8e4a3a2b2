"""Tables: what their columns are, where their rows come from, and how samples go back to files."""
