"""Person models: body shape, rig, skin, clothes and hair."""
