"""`thfm benchmark node`: the node under load, beside a MediaPipe node in the same run."""
