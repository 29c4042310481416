"""Video and image files, drawing, and the files that results are written to."""
