"""The ROS 2 side of the package; no other folder imports rclpy or messages."""
