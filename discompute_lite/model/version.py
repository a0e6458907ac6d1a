"""Say which version this is, in one place."""

VERSION = "0.1.0"
