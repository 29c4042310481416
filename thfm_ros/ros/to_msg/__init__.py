"""Conversion of a `Perception` to messages. Each carries the header of the image it describes."""
