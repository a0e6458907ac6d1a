"""Write discompute_lite/tasks/digits_data.py from the copy of the UCI digits that scikit-learn carries.

Run it with a Python that has scikit-learn:  python tools/digits.py
The data never changes; this file shows where it comes from and how it was packed.
"""

from __future__ import annotations

import base64
import pathlib
import zlib

HEADER = '''"""Hold the UCI handwritten digits as text: 1,797 images of 8 by 8 pixels, and the digit each one shows.

Knows:   the test set of "Optical Recognition of Handwritten Digits" by E. Alpaydin and C. Kaynak (1998), UCI Machine
         Learning Repository, https://doi.org/10.24432/C50P49, licence CC BY 4.0, in scikit-learn's order. Unchanged
         but for the packing: pixel by pixel over all images (that compresses best), zlib, base 85.
Refuses: to be edited; tools/digits.py writes it.
Read next: tasks/digits.py (reads it).
"""

from __future__ import annotations

'''
#: Text on a line, so that lines stay within 120 characters.
WIDTH = 112


def literal(name: str, text: str) -> str:
    """Return an assignment of `text`, folded into lines."""
    lines = [f'    "{text[start:start + WIDTH]}"' for start in range(0, len(text), WIDTH)]
    return f"{name} = (\n" + "\n".join(lines) + "\n)\n"


def smallest(data: bytes) -> bytes:
    """Return the smallest zlib stream of `data` over all strategies and memory levels."""
    streams = []
    for strategy in range(5):
        for memory_level in (8, 9):
            packer = zlib.compressobj(9, zlib.DEFLATED, 15, memory_level, strategy)
            streams.append(packer.compress(data) + packer.flush())
    return min(streams, key=len)


def main() -> None:
    """Read, pack, write."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    pixels = bytes(int(value) for column in bunch.data.T for value in column)
    labels = "".join(str(int(label)) for label in bunch.target)
    images = base64.b85encode(smallest(pixels)).decode("ascii")
    target = pathlib.Path(__file__).resolve().parent.parent / "discompute_lite" / "tasks" / "digits_data.py"
    target.write_bytes((HEADER + literal("DIGIT_IMAGES", images) + literal("DIGIT_LABELS", labels)).encode("utf-8"))


if __name__ == "__main__":
    main()
