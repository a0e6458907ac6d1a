"""FACES: what a person or a program sees of a node."""
