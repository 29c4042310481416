"""`thfm synth bake`: conversion of public sources to one asset pack."""
