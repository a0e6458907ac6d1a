"""A world in a box: devices that sleep, leave and straggle, on a clock that jumps; not part of the single file."""
