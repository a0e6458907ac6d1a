"""WORK: what a task is made of, how it is split, run and merged."""
