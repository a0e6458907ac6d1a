"""ARITHMETIC: as little cryptography as the standard library's TLS needs from us."""
