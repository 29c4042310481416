"""The embedded network: its architecture, its tasks, and what a checkpoint says about itself."""
