"""How people move: captures, gestures, strides and their variations."""
