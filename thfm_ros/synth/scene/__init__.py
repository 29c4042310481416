"""What stands in a scene: people, things, animals, decoys and a place."""
