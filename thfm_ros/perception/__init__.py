"""From the newest frames of a stream to detections, crops, keypoints, maps and tracks."""
