"""Reading and writing videos and images, drawing, and the files of results."""
