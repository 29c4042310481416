"""What training does to a rendered image: moves, cameras, backgrounds, occluders."""
