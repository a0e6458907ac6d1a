"""SOCKETS: the loop, the links and the ways of meeting."""
