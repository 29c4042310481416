"""`thfm benchmark node`: the node under load, compared with a MediaPipe node in the same run."""
