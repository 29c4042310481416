"""Metrics as the field defines them, on numpy arrays: no network, no file, no state."""
