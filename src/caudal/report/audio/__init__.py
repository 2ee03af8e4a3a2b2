"""Numbers, pictures, sounds and the page of a run on audio."""
