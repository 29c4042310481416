"""`thfm demo`: a video through the node over real topics, drawn and counted."""
