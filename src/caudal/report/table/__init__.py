"""Numbers, pictures and the page of a run on a table."""
