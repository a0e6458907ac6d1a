"""BYTES: every format that crosses a wire, without a socket."""
