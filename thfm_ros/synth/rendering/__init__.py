"""Rendering of scenes to images with labels, and simulation of the camera's sensor."""
