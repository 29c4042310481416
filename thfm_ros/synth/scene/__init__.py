"""Scenes: people, props, animals, decoys and backdrops."""
