"""ROLES: what a node does, without doing any of it by hand."""
