"""A scene into an image with labels, as a camera's sensor would record it."""
