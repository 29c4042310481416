"""A person: body shape, rig, skin, clothes and hair."""
