"""Motion of people: captured clips, procedural gestures and strides, and variations of them."""
