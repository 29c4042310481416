"""From a `Perception` to messages. Every one carries the header of the image it describes."""
