"""The replay node: publishes a video, images or a camera as a ROS camera with a calibration."""
