"""Figures as the field defines them: pure functions on numpy arrays."""
