"""How right a checkpoint is: crops, clips, whole frames through the pipeline, real images."""
