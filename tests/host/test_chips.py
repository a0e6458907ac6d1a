"""The tables are whole, are read as they were written, and are what the generator makes of CSV files."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any, Dict

import pytest

from discompute_lite.host.chips import APPLE_CHIPS, APPLE_MODELS, PC_GPUS, PHONE_SOCS
from discompute_lite.host.lookup import apple_gpu_bins, find_apple_model, find_apple_speed, find_soc
from discompute_lite.host.pc_gpus import find_gpu

GENERATOR = Path(__file__).parents[2] / "tools" / "chips.py"
SAMPLE = {
    "apple_models.csv": (
        "identifier,marketing_name,family,chip,memory_mb,year,cpu_cores_p,cpu_cores_e,gpu_cores,confidence,notes\n"
        '"iPhone9,1",iPhone 7,iphone,A10 Fusion,2048,2016,2,2,6,high,\n'
        '"Mac13,1","Mac Studio (M1 Max, 2022)",mac,M1 Max,32768|65536,2022,8,2,24|32,high,\n'
        '"iPhone9,3",iPhone 7,iphone,A10 Fusion,2048,2016,2,2,6,high,"a note, with a comma"\n'
        '"VirtualMac2,1",Apple virtual machine,mac,,,2021,,,,high,\n'),
    "apple_chips.csv": (
        "chip,cpu_cores_p,cpu_cores_e,gpu_cores,fp32_tflops_gpu,fp16_tflops_gpu,int8_tflops_gpu,confidence\n"
        "A19,2,4,5,1.882,3.763,13.5,high\nA20 Pro,,,7,,,,low\n"),
    "gpus.csv": (
        "gpu,memory_gb,fp32_tflops,fp16_tflops,int8_tops,driver_names,confidence\n"
        "NVIDIA T4,16,8.14,65.12,130.2,Tesla T4|NVIDIA T4,high\nAMD Radeon 780M,,8.91,17.82,17.82,,medium\n"),
    "android_socs.csv": (
        "chip,soc_model,gpu,fp32_tflops,fp16_tflops,confidence\n"
        "Snapdragon 870 / 865+,SM8250-AC|SM8250-AB,Adreno 650,1.375,,low\n"),
}


def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("chips_generator", GENERATOR)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def write_sample(folder: Path, **changes: str) -> Path:
    for name, text in SAMPLE.items():
        (folder / name).write_text(changes.get(name.split(".")[0], text), encoding="utf-8")
    return folder


def test_the_generator_writes_what_the_tables_say(tmp_path: Path) -> None:
    names: Dict[str, Any] = {}
    exec(generator().generate(write_sample(tmp_path)), names)
    assert names["APPLE_MODELS"] == (
        ("iPhone9,1 iPhone9,3", "iPhone 7", "A10 Fusion", "2", "2", "2", "6"),
        ("Mac13,1", "Mac Studio (M1 Max, 2022)", "M1 Max", "32 64", "8", "2", "24 32"),
        ("VirtualMac2,1", "Apple virtual machine", "", "", "", "", ""))
    assert names["APPLE_CHIPS"] == (("A19", 5, "2", "4", 1.882, 3.763, 13.5, ""),
                                    ("A20 Pro", 7, "", "", 0, 0, 0, "low"))
    assert names["PC_GPUS"] == (("NVIDIA T4", 16, 8.14, 65.12, 130.2, "", "Tesla T4"),
                                ("AMD Radeon 780M", 0, 8.91, 17.82, 17.82, "medium", ""))
    assert names["PHONE_SOCS"] == (("Snapdragon 870 / 865+", "SM8250-AC|SM8250-AB", "Adreno 650", 1.375, 0, "low"),)
    assert "4 Apple models, 2 bins of Apple chips, 2 GPUs of PCs, 1 chips" in names["__doc__"]


def test_the_generator_makes_the_same_bytes_twice_and_one_file(tmp_path: Path, monkeypatch: Any) -> None:
    tool = generator()
    folder = write_sample(tmp_path)
    monkeypatch.setattr(tool, "MODULE", tmp_path / "made.py")
    assert tool.main([str(folder)]) == 0
    first = (tmp_path / "made.py").read_bytes()
    assert tool.main([str(folder)]) == 0
    assert (tmp_path / "made.py").read_bytes() == first
    assert tool.main([]) == 2


def test_the_generator_refuses_memory_that_is_no_gigabyte(tmp_path: Path) -> None:
    odd = SAMPLE["apple_models.csv"].replace("2048,2016,2,2,6,high,\n", "2000,2016,2,2,6,high,\n", 1)
    with pytest.raises(SystemExit, match=r"iPhone9,1: 2000 MB"):
        generator().generate(write_sample(tmp_path, apple_models=odd))


def test_the_committed_module_is_as_the_generator_writes() -> None:
    """The CSV files are not here, so the module's own rows are written again."""
    tool = generator()
    text = (GENERATOR.parents[1] / "discompute_lite" / "host" / "chips.py").read_text(encoding="utf-8")
    identifiers = sum(len(row[0].split()) for row in APPLE_MODELS)
    header = tool.HEADER.format(models=identifiers, chips=len(APPLE_CHIPS), gpus=len(PC_GPUS), socs=len(PHONE_SOCS))
    tables = [tool.table(tool.APPLE_MODELS_HEAD, APPLE_MODELS), tool.table(tool.APPLE_CHIPS_HEAD, APPLE_CHIPS),
              tool.table(tool.PC_GPUS_HEAD, PC_GPUS), tool.table(tool.PHONE_SOCS_HEAD, PHONE_SOCS)]
    assert text == header + "\n".join(tables)


def test_no_identifier_and_no_bin_occurs_twice() -> None:
    identifiers = [name for row in APPLE_MODELS for name in row[0].split()]
    assert len(identifiers) == len(set(identifiers)) > 200
    bins = [(row[0], row[1]) for row in APPLE_CHIPS]
    assert len(bins) == len(set(bins))


def test_every_model_points_to_bins_of_its_chip() -> None:
    for identifiers, _, chip, _, _, _, gpu_cores in APPLE_MODELS:
        if chip not in ("", "Intel"):
            missing = {int(cores) for cores in gpu_cores.split()} - set(apple_gpu_bins(chip))
            assert not missing, f"{identifiers}: no bin of {chip} has {missing} GPU cores"


def test_what_exo_published_wrongly_is_right_here() -> None:
    assert find_apple_speed("M3 Ultra", 80).fp32 == pytest.approx(28.262)
    assert find_apple_speed("M4 Pro", 20).fp32 == pytest.approx(8.079)
    assert find_apple_speed("M4 Max", 40).fp16 == find_apple_speed("M4 Max", 40).fp32 == pytest.approx(16.159)
    assert find_apple_speed("A18 Pro", 6).fp32 == pytest.approx(2.258)
    assert find_apple_model("iPhone16,2").chip == "A17 Pro"  # type: ignore[union-attr]
    assert find_gpu("NVIDIA GeForce RTX 2080 Ti").speed.int8 == pytest.approx(215.2)  # type: ignore[union-attr]


def test_an_unknown_name_has_no_row() -> None:
    assert find_apple_model("iPhone20,1") is None and find_apple_model("") is None
    assert find_apple_model("iPhone7") is None, "a prefix is no identifier"
    assert find_apple_speed("M7", 10).fp32 == 0 and find_apple_speed("M3 Max", 20).fp32 == 0
    assert find_apple_speed("A20 Pro", 7).confidence == "", "a row without a figure has no confidence either"
    assert find_gpu("NVIDIA GeForce RTX 9090") is None and find_gpu("") is None
    assert find_soc(["MT6835", "unknown", ""]) is None


def test_every_gpu_is_found_by_its_own_name_and_those_of_its_driver() -> None:
    for row in PC_GPUS:
        exact = find_gpu(row[0].upper(), row[1] * 1024)
        assert exact is not None and exact.speed.fp32 == row[2], row[0]
        for spelling in row[6].split("|") if row[6] else ():
            found = find_gpu(spelling, row[1] * 1024)
            assert found is not None and found.speed.fp32 <= row[2], spelling


@pytest.mark.parametrize(("driver", "memory_mb", "row"), [
    ("NVIDIA A100-SXM4-80GB", 81920, "NVIDIA A100 SXM4 80GB"),
    ("NVIDIA GeForce GTX 1660 TI", 6144, "NVIDIA GeForce GTX 1660 Ti"),
    ("NVIDIA GeForce RTX 3080", 12288, "NVIDIA GeForce RTX 3080 12GB"),
    ("NVIDIA GeForce RTX 3080", 10240, "NVIDIA GeForce RTX 3080 10GB"),
    ("NVIDIA GeForce RTX 3080", 0, "NVIDIA GeForce RTX 3080 10GB"),
    ("NVIDIA GeForce RTX 3080 Laptop GPU", 8192, "NVIDIA GeForce RTX 3080 Laptop GPU"),
    ("Tesla T4", 15360, "NVIDIA T4"),
    ("Intel(R) UHD Graphics 630", 0, "Intel UHD Graphics 630"),
    ("Intel(R) Arc(TM) A770 Graphics", 16384, None),
    ("Intel(R) Arc(TM) 140V GPU (16GB)", 0, "Intel Arc 140V (Lunar Lake)"),
    ("Intel(R) Iris(R) Xe Graphics", 0, "Intel Iris Xe Graphics (80 EU)"),
    ("Radeon RX 7900 XTX", 24560, "AMD Radeon RX 7900 XTX"),
    ("AMD Radeon(TM) Graphics", 512, None),
])
def test_gpus_by_the_names_that_drivers_print(driver: str, memory_mb: int, row: str) -> None:
    found = find_gpu(driver, memory_mb)
    assert (found.name if found else None) == row


@pytest.mark.parametrize(("told", "name"), [
    (["SM8250"], "Snapdragon 865"), (["SM8250-AC"], "Snapdragon 870 / 865+"), (["SM8550-AB"], "Snapdragon 8 Gen 2"),
    (["MT6983Z/TZA"], "Dimensity 9000"), (["Tensor G3"], "Google Tensor G3"), (["", "zuma"], "Google Tensor G3"),
    (["zumapro"], "Google Tensor G4"), (["SM82501"], None), (["exynos9820"], "Exynos 9820"),
    (["g3"], None), (["Tensor"], None),
])
def test_phone_chips_by_what_android_says(told: Any, name: str) -> None:
    found = find_soc(told)
    assert (found.name if found else None) == name
