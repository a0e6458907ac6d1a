"""THIS MACHINE: its hardware, its processes, its files."""
