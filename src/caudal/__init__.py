"""caudal: normalizing flows with exact densities and fast sampling, both ways."""
