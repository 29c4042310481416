"""`thfm demo`: plays a video through the node, summarizes the results and draws them."""
