"""`thfm synth bake`: public sources into one asset pack."""
