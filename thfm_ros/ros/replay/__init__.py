"""The replay node: a video, images or a camera as image topics with a calibration."""
