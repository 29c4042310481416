"""The networks: one architecture in two sizes, and what a checkpoint says about itself."""
