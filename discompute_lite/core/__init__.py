"""DECISIONS: what to believe and what to do next, as machines without sockets, clocks or chance."""
