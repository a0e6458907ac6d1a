"""Turn the CSV tables of devices and chips into discompute_lite/host/chips.py.

    python3 tools/chips.py FOLDER_OF_CSV

Knows:   apple_models.csv, apple_chips.csv, gpus.csv and android_socs.csv, column by column.
Refuses: to add, round or guess a figure: what is empty in a table stays 0 or "" in the module.
Read next: discompute_lite/host/lookup.py (who reads the module).

The same tables make the same bytes, in the order of their rows.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import Dict, List, Sequence, Tuple

MODULE = Path(__file__).resolve().parent.parent / "discompute_lite" / "host" / "chips.py"
Row = Dict[str, str]

HEADER = '''\
"""Hold the tables of devices and chips: data, made by `python3 tools/chips.py FOLDER_OF_CSV`.

Knows:   {models} Apple models, {chips} bins of Apple chips, {gpus} GPUs of PCs, {socs} chips of phones and boards.
Refuses: figures without a source; 0 and "" say *not known*. Edit the tables, not this file.
Read next: host/lookup.py (how a row is chosen).

All TFLOPS (and INT8 TOPS) are nominal: lanes times clock, what a vendor prints, not what a program gets.
Confidence is "" where two good sources agree, else "medium" or "low".
"""

from __future__ import annotations

from typing import Tuple

'''

APPLE_MODELS_HEAD = '''\
#: identifiers, name, chip, memory sizes in GB, performance cores, efficiency cores, GPU cores; several numbers
#: stand for the variants that share an identifier.
APPLE_MODELS: Tuple[Tuple[str, str, str, str, str, str, str], ...] = ('''
APPLE_CHIPS_HEAD = '''\
#: chip, GPU cores, performance cores, efficiency cores, FP32, FP16, INT8, confidence: one row for each GPU bin.
APPLE_CHIPS: Tuple[Tuple[str, int, str, str, float, float, float, str], ...] = ('''
PC_GPUS_HEAD = '''\
#: name, memory in GB, FP32, FP16 (dense, matrix units where there are some), INT8, confidence, names that drivers
#: print where they differ, separated by "|".
PC_GPUS: Tuple[Tuple[str, int, float, float, float, str, str], ...] = ('''
PHONE_SOCS_HEAD = '''\
#: name, model strings separated by "|", GPU, FP32, FP16, confidence.
PHONE_SOCS: Tuple[Tuple[str, str, str, float, float, str], ...] = ('''


def read_table(folder: Path, name: str) -> List[Row]:
    """Return the rows of one table, cells stripped."""
    with open(folder / name, encoding="utf-8", newline="") as stream:
        return [{key: (cell or "").strip() for key, cell in row.items() if key} for row in csv.DictReader(stream)]


def several(text: str) -> str:
    """Write "8|16" as "8 16"."""
    return " ".join(text.split("|"))


def confidence(row: Row) -> str:
    """Write nothing for what is sure."""
    return "" if row["confidence"] == "high" else row["confidence"]


def apple_model(row: Row) -> Sequence[object]:
    """Return one row of APPLE_MODELS; memory in GB."""
    sizes = [int(size) for size in row["memory_mb"].split("|") if size]
    odd = [size for size in sizes if size % 1024]
    if odd:
        raise SystemExit(f"{row['identifier']}: {odd[0]} MB is no whole number of GB; correct apple_models.csv")
    cores = (several(row[name]) for name in ("cpu_cores_p", "cpu_cores_e", "gpu_cores"))
    memory_gb = " ".join(str(size // 1024) for size in sizes)
    return (row["identifier"], row["marketing_name"], row["chip"], memory_gb, *cores)


def merged(rows: Sequence[Sequence[object]]) -> List[Sequence[object]]:
    """Write identifiers that differ in nothing but their number into one row, in the order of the first."""
    shared: Dict[Tuple[object, ...], List[str]] = {}
    for identifier, *rest in rows:
        shared.setdefault(tuple(rest), []).append(str(identifier))
    return [(" ".join(identifiers), *rest) for rest, identifiers in shared.items()]


def apple_chip(row: Row) -> Sequence[object]:
    """Return one row of APPLE_CHIPS."""
    rates = (float(row[name] or 0) for name in ("fp32_tflops_gpu", "fp16_tflops_gpu", "int8_tflops_gpu"))
    cores = several(row["cpu_cores_p"]), several(row["cpu_cores_e"])
    return (row["chip"], int(row["gpu_cores"] or 0), *cores, *rates, confidence(row))


def pc_gpu(row: Row) -> Sequence[object]:
    """Return one row of PC_GPUS."""
    rates = (float(row[name] or 0) for name in ("fp32_tflops", "fp16_tflops", "int8_tops"))
    names = "|".join(name for name in row["driver_names"].split("|") if name and name != row["gpu"])
    return (row["gpu"], int(row["memory_gb"] or 0), *rates, confidence(row), names)


def phone_soc(row: Row) -> Sequence[object]:
    """Return one row of PHONE_SOCS."""
    rates = (float(row[name] or 0) for name in ("fp32_tflops", "fp16_tflops"))
    return (row["chip"], row["soc_model"], row["gpu"], *rates, confidence(row))


def literal(value: object) -> str:
    """Write a cell as Python: text in double quotes, numbers without a trailing ".0"."""
    if isinstance(value, float):
        return repr(int(value)) if value == int(value) else repr(value)
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return repr(value)


def table(head: str, rows: Sequence[Sequence[object]]) -> str:
    """Write one table."""
    lines = ["    (" + ", ".join(literal(cell) for cell in row) + ")," for row in rows]
    return "\n".join([head, *lines, ")"]) + "\n"


def generate(folder: Path) -> str:
    """Return the whole text of the module."""
    models = merged([apple_model(row) for row in read_table(folder, "apple_models.csv")])
    chips = [apple_chip(row) for row in read_table(folder, "apple_chips.csv")]
    gpus = [pc_gpu(row) for row in read_table(folder, "gpus.csv")]
    socs = [phone_soc(row) for row in read_table(folder, "android_socs.csv")]
    identifiers = sum(len(str(row[0]).split()) for row in models)
    header = HEADER.format(models=identifiers, chips=len(chips), gpus=len(gpus), socs=len(socs))
    tables = [table(APPLE_MODELS_HEAD, models), table(APPLE_CHIPS_HEAD, chips),
              table(PC_GPUS_HEAD, gpus), table(PHONE_SOCS_HEAD, socs)]
    return header + "\n".join(tables)


def main(arguments: Sequence[str]) -> int:
    """Rewrite the module; return the exit code."""
    if len(arguments) != 1:
        print("chips.py: which folder? Say: python3 tools/chips.py FOLDER_OF_CSV", file=sys.stderr)
        return 2
    text = generate(Path(arguments[0]))
    MODULE.write_text(text, encoding="utf-8")
    print(f"{MODULE.name}: {len(text.splitlines())} lines")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
