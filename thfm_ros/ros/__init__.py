"""The only folder that imports rclpy or messages; the core knows nothing of ROS."""
