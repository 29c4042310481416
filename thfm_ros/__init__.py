"""One RGB camera as a human-geometry sensor, for ROS 2. See README.md."""

__version__ = "0.1.0"
