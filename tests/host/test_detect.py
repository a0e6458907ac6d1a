"""Each platform is recognised by its recorded probe; what is unknown stays unknown and is said."""

from __future__ import annotations

import importlib.util
import sys
import time
from pathlib import Path
from typing import Any, List

import pytest

from discompute_lite.host.cgroup import group_cpu_seconds, group_limits, group_memory_used
from discompute_lite.host.chips import APPLE_CHIPS, APPLE_MODELS
from discompute_lite.host.detect import DETECTORS, app_name, detect_hardware, device_name, has_processes
from discompute_lite.host.probe import Probe
from discompute_lite.model.device import DEVICE_TYPES, DeviceCapabilities, Hardware

_SPEC = importlib.util.spec_from_file_location("recorded_for_detect", Path(__file__).with_name("recorded.py"))
assert _SPEC is not None and _SPEC.loader is not None
recorded = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(recorded)
recording = recorded.recording
ALL_PROBES = sorted(path.stem for path in recorded.PROBES.glob("*.json"))


def detected(name: str, **changes: Any) -> Hardware:
    return detect_hardware(recording(name, **changes))


def assert_tflops(hardware: Hardware, fp32: float, fp16: float) -> None:
    assert hardware.capabilities.fp32_tflops == pytest.approx(fp32)
    assert hardware.capabilities.fp16_tflops == pytest.approx(fp16)


def assert_noted(hardware: Hardware, words: str) -> None:
    assert any(words in note for note in hardware.notes), hardware.notes


def source_of(hardware: Hardware, field: str) -> str:
    return dict(hardware.sources)[field]


# ---- every platform -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ALL_PROBES)
def test_every_recording_says_what_it_is_modelled_on_and_gives_a_whole_answer(name: str) -> None:
    probe = recording(name)
    assert len(probe.facts["modelled_on"]) > 20
    hardware = detect_hardware(probe)
    assert hardware.type in DEVICE_TYPES
    assert hardware.capabilities.cpu_cores >= 1
    assert hardware.capabilities.chip or name == "ios_unknown_iphone"
    assert hardware.capabilities.os_version and device_name(probe, hardware)
    assert hardware.capabilities.has_gpu == bool(hardware.capabilities.gpu_type)
    if hardware.capabilities.fp32_tflops:
        assert "nominal" in source_of(hardware, "tflops")
    assert all(note.endswith(".") for note in hardware.notes)


@pytest.mark.parametrize("name", ALL_PROBES)
def test_one_detector_answers_for_each_platform(name: str) -> None:
    answering = [kind for kind, detector in DETECTORS.items() if kind != "other" and detector(recording(name))]
    # Android is a Linux: the detector that stands first is the one that is asked.
    expected = {"mac": "macos"}.get(name.split("_")[0], name.split("_")[0])
    assert answering[:1] == ([] if expected == "other" else [expected])


@pytest.mark.parametrize("platform", ["linux", "darwin", "ios", "android", "win32", "freebsd14", "wasi", ""])
def test_a_machine_that_says_nothing_still_gets_an_answer(platform: str) -> None:
    probe = recorded.RecordedProbe({"platform": platform, "windows": {
        "version": [6, 1, 7601], "memory": [0, 0], "battery": None, "times": [0, 0]}})
    hardware = detect_hardware(probe)
    assert hardware.type in DEVICE_TYPES
    assert hardware.capabilities.cpu_cores == 1 and hardware.capabilities.memory_mb == 0
    assert hardware.capabilities.fp32_tflops == 0 and not hardware.capabilities.has_gpu
    assert device_name(probe, hardware)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the bound is for Linux")
def test_this_machine_is_detected_quickly() -> None:
    probe = Probe()
    times: List[float] = []
    for _ in range(5):
        before = time.perf_counter()
        hardware = detect_hardware(probe)
        times.append(time.perf_counter() - before)
    assert min(times) < 0.03
    assert hardware.type == "linux" and hardware.capabilities.cpu_cores >= 1


# ---- Macs ---------------------------------------------------------------------------------------------


def test_a_macbook_pro_with_m3_max() -> None:
    hardware = detected("mac_m3_max")
    assert (hardware.type, hardware.identifier) == ("macbook", "Mac15,8")
    assert hardware.model == "MacBook Pro (14-inch, M3 Max, Nov 2023)"
    assert hardware.capabilities == DeviceCapabilities(
        cpu_cores=16, memory_mb=65536, has_gpu=True, gpu_type="Apple M3 Max", fp32_tflops=14.131, fp16_tflops=14.131,
        chip="Apple M3 Max", os_version="macOS 15.5", supports_metal=True)
    assert hardware.physical_cores == 16 and hardware.notes == () and hardware.app == ""
    assert source_of(hardware, "gpu_type") == "ioreg: 40 cores"


def test_gpu_cores_follow_from_the_cpu_cores_where_ioreg_is_not_allowed() -> None:
    hardware = detected("mac_m3_pro_no_ioreg")
    assert_tflops(hardware, 4.946, 4.946)
    assert source_of(hardware, "gpu_type") == "5 + 6 CPU cores: 14 cores"


def test_the_smallest_bin_is_taken_and_said_where_nothing_tells() -> None:
    sysctl = {"hw.model": "Mac15,6", "machdep.cpu.brand_string": "Apple M3 Pro"}
    hardware = detected("mac_m3_pro_no_ioreg", sysctl=sysctl)
    assert_tflops(hardware, 4.946, 4.946)
    assert_noted(hardware, "14 or 18 cores")


def test_m6_has_three_kinds_of_cores() -> None:
    hardware = detected("mac_m6_three_levels", commands={})
    assert hardware.type == "mac_mini" and hardware.capabilities.cpu_cores == 12
    assert_tflops(hardware, 4.38, 8.46)


def test_the_chip_that_the_machine_names_beats_the_row_of_the_model() -> None:
    sysctl = {"hw.model": "Mac15,8", "machdep.cpu.brand_string": "Apple M3 Pro", "hw.nperflevels": 2,
              "hw.perflevel0.physicalcpu": 6, "hw.perflevel1.physicalcpu": 6}
    hardware = detected("mac_m3_max", sysctl=sysctl, commands={})
    assert hardware.capabilities.chip == "Apple M3 Pro"
    assert_tflops(hardware, 6.359, 6.359)


def test_an_unknown_mac_and_chip_get_names_and_cores_but_no_invented_figure() -> None:
    hardware = detected("mac_unknown_m7")
    assert hardware.type == "mac" and hardware.model == "Mac (unknown model)" and hardware.identifier == "Mac19,3"
    assert hardware.capabilities.chip == hardware.capabilities.gpu_type == "Apple M7 Max"
    assert hardware.capabilities.memory_mb == 49152 and hardware.capabilities.cpu_cores == 14
    assert_tflops(hardware, 0, 0)
    assert_noted(hardware, "No GPU figure is known for the Apple M7 Max with 44 GPU cores")
    assert_noted(hardware, "Mac19,3 is not in this program's tables")


def test_an_unknown_macbook_is_still_a_macbook() -> None:
    assert detected("mac_unknown_m7", sysctl={"hw.model": "MacBookPro19,1"}).type == "macbook"


def test_a_virtual_mac_does_not_boast_with_its_hosts_gpu() -> None:
    hardware = detected("mac_virtual")
    assert hardware.capabilities.chip == "Apple M1" and hardware.capabilities.cpu_cores == 3
    assert not hardware.capabilities.has_gpu and not hardware.capabilities.supports_metal
    assert_tflops(hardware, 0, 0)
    assert_noted(hardware, "virtual machine")


def test_rosetta_is_seen_through() -> None:
    hardware = detected("mac_rosetta")
    assert hardware.capabilities.chip == "Apple M1"
    assert_tflops(hardware, 2.29, 2.29)
    assert_noted(hardware, "translated by Rosetta")


def test_an_intel_mac() -> None:
    hardware = detected("mac_intel")
    assert hardware.type == "macbook" and hardware.model == "MacBook Pro (16-inch, 2019)"
    assert hardware.capabilities.chip.startswith("Intel(R) Core(TM) i7")
    assert hardware.capabilities.gpu_type == "Intel UHD Graphics 630" and hardware.physical_cores == 6
    assert_tflops(hardware, 0, 0)


@pytest.mark.parametrize("told", ["", "no json", "[]", '{"SPDisplaysDataType": []}', '{"SPDisplaysDataType": [7]}',
                                  '{"SPDisplaysDataType": {}}', '{"SPDisplaysDataType": [{"sppci_cores": "x"}]}'])
def test_nonsense_from_a_command_is_not_known(told: str) -> None:
    profiler = "/usr/sbin/system_profiler SPDisplaysDataType -json"
    ioreg = "/usr/sbin/ioreg -rc AGXAccelerator -d1"
    hardware = detected("mac_m3_pro_no_ioreg", commands={profiler: told, ioreg: told})
    assert_tflops(hardware, 4.946, 4.946)


# ---- every row of the table ---------------------------------------------------------------------------

ROWS = [(identifier, *row[1:]) for row in APPLE_MODELS for identifier in row[0].split()]
#: Those on which Python runs in an app.
APP_ROWS = [row for row in ROWS if row[0].startswith(("iP", "Reality", "AppleTV"))]
MAC_ROWS = [row for row in ROWS if row not in APP_ROWS and row[4]]


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_every_apple_model_gives_its_name_chip_memory_cores_and_figure(row: Any) -> None:
    identifier, name, chip, memory_gb, fast, slow, gpu_cores = row
    is_mac = identifier.startswith(("Mac", "iMac", "ADP", "VirtualMac"))
    cores = int((fast.split() or ["4"])[-1]) + int((slow.split() or ["0"])[-1])
    gpus = [int(count) for count in gpu_cores.split()]
    memory_mb = int((memory_gb.split() or ["8"])[-1]) * 1024
    brand = "Intel(R) Core(TM) i5" if chip == "Intel" else f"Apple {chip}" if chip else "Apple M2"
    sysctl = {"hw.memsize": memory_mb << 20, "hw.ncpu": cores, "hw.logicalcpu": cores, "hw.physicalcpu": cores}
    ioreg = {"/usr/sbin/ioreg -rc AGXAccelerator -d1": f'"gpu-core-count" = {gpus[-1]}'} if gpus else {}
    if is_mac:
        sysctl.update({"hw.model": identifier, "machdep.cpu.brand_string": brand})
    hardware = detect_hardware(recorded.RecordedProbe({
        "platform": "darwin", "uname": ["Darwin", "", "25.0.0", "", "arm64" if is_mac else identifier],
        "cpu_count": cores, "sysctl": sysctl, "commands": ioreg}))
    assert hardware.model == name and hardware.identifier == identifier
    assert hardware.type in DEVICE_TYPES and (hardware.type != "unknown" or identifier.startswith("AppleTV"))
    assert hardware.capabilities.chip == brand
    assert (hardware.capabilities.memory_mb, hardware.capabilities.cpu_cores) == (memory_mb, cores)
    assert hardware.work_memory_mb == (0 if is_mac else memory_mb // 4)
    figures = [(fp32, fp16) for short, count, _, _, fp32, fp16, _, _ in APPLE_CHIPS
               if gpus and (short, count) == (chip, gpus[-1])]
    fp32, fp16 = figures[0] if figures else (0.0, 0.0)
    assert_tflops(hardware, fp32, fp16)
    assert fp32 or chip in ("Intel", "A20 Pro", ""), "the table has a figure for every other chip"


@pytest.mark.parametrize("row", APP_ROWS, ids=[row[0] for row in APP_ROWS])
def test_the_identifier_alone_gives_the_least_that_is_sold_under_it(row: Any) -> None:
    """As in an app where sysctl is refused and Python counts no cores."""
    identifier, name, chip, memory_gb, fast, slow, gpu_cores = row
    hardware = detect_hardware(recorded.RecordedProbe(
        {"platform": "ios", "uname": ["Darwin", "localhost", "25.0.0", "", identifier]}))
    assert (hardware.model, hardware.capabilities.chip) == (name, f"Apple {chip}")
    assert hardware.capabilities.memory_mb == min(map(int, memory_gb.split())) * 1024
    assert hardware.work_memory_mb == hardware.capabilities.memory_mb // 4
    # Of the newest the table has no cores yet: then one counts, as Python does.
    cores = sum(min(map(int, kind.split()), default=0) for kind in (fast, slow)) or 1
    assert hardware.capabilities.cpu_cores == cores
    gpu, bins = min(map(int, gpu_cores.split()), default=0), {row[1]: row[4] for row in APPLE_CHIPS if row[0] == chip}
    assert hardware.capabilities.fp32_tflops == pytest.approx(bins.get(gpu, 0.0))


@pytest.mark.parametrize("row", MAC_ROWS, ids=[row[0] for row in MAC_ROWS])
def test_a_mac_that_tells_its_model_alone_has_the_fewest_cores_and_the_least_memory_of_it(row: Any) -> None:
    identifier, name, chip, memory_gb, fast, slow, gpu_cores = row
    hardware = detect_hardware(recorded.RecordedProbe(
        {"platform": "darwin", "uname": ["Darwin", "", "25.0.0", "", "arm64"], "sysctl": {"hw.model": identifier}}))
    assert (hardware.model, hardware.capabilities.chip) == (name, f"Apple {chip}")
    assert hardware.capabilities.memory_mb == min(map(int, memory_gb.split())) * 1024
    assert hardware.capabilities.cpu_cores == sum(min(map(int, kind.split()), default=0) for kind in (fast, slow))
    gpu, bins = min(map(int, gpu_cores.split())), {row[1]: row[4] for row in APPLE_CHIPS if row[0] == chip}
    assert hardware.capabilities.fp32_tflops == pytest.approx(bins[gpu])


# ---- iPhones and iPads --------------------------------------------------------------------------------


def test_an_iphone_in_pythonista() -> None:
    probe = recording("ios_pythonista")
    hardware = detect_hardware(probe)
    assert (hardware.type, hardware.model, hardware.app) == ("iphone", "iPhone 16 Pro", "Pythonista")
    assert hardware.capabilities.chip == "Apple A18 Pro" and hardware.capabilities.os_version == "iOS 26.1"
    assert hardware.capabilities.memory_mb == 4200, "what the app may use, not what is built in"
    assert_noted(hardware, "4200 MB of the device's 8192 MB")
    assert hardware.work_memory_mb == 2048, "a quarter of what is built in"
    assert_tflops(hardware, 2.258, 2.258)
    assert not has_processes(probe)
    assert device_name(probe, hardware) == "iPhone 16 Pro", "iOS 17 calls every device localhost"


def test_work_gets_no_more_than_the_app_may_use() -> None:
    assert detected("ios_pythonista", app_memory_left=1500 << 20).work_memory_mb == 1500


def test_an_ipad_in_a_shell_with_python_313() -> None:
    hardware = detected("ios_ashell_313")
    assert (hardware.type, hardware.model, hardware.app) == ("ipad", "iPad Pro (11-inch) (M4)", "a-Shell")
    assert hardware.capabilities.os_version == "iPadOS 26.0" and hardware.capabilities.memory_mb == 8192
    assert_tflops(hardware, 4.04, 4.04)


def test_pyto_where_sysctl_is_refused() -> None:
    hardware = detected("ios_pyto")
    assert (hardware.app, hardware.model) == ("Pyto", "iPad Air (4th generation)")
    assert hardware.capabilities.memory_mb == 4096 and source_of(hardware, "memory_mb") == "table of models"
    assert hardware.capabilities.os_version == "iPadOS (Darwin 23.0.0)"


def test_an_iphone_newer_than_the_tables() -> None:
    hardware = detected("ios_unknown_iphone")
    assert (hardware.type, hardware.model, hardware.identifier) == ("iphone", "iPhone (unknown model)", "iPhone20,1")
    assert hardware.capabilities.memory_mb == 16384 and hardware.capabilities.cpu_cores == 8
    assert_tflops(hardware, 0, 0)
    assert_noted(hardware, "newer than this program's tables")
    told = {"hw.memsize": 16 << 30, "machdep.cpu.brand_string": "Apple A21"}
    assert detected("ios_unknown_iphone", sysctl=told).capabilities.chip == "Apple A21"


def test_an_ios_app_on_a_mac_is_no_ipad() -> None:
    probe = recording("ios_app_on_mac")
    hardware = detect_hardware(probe)
    assert (hardware.type, hardware.identifier) == ("macbook", "Mac14,2")
    assert hardware.capabilities.chip == "Apple M2" and hardware.capabilities.memory_mb == 16384
    assert not has_processes(probe)
    assert_noted(hardware, "iOS app on a Mac")


@pytest.mark.parametrize(("sysctl", "kind"), [
    ({"hw.memsize": 16 << 30}, "mac"), ({"machdep.cpu.brand_string": "Apple M1"}, "mac"), ({}, "ipad")])
def test_memory_or_the_chip_betray_the_mac(sysctl: Any, kind: str) -> None:
    hardware = detected("ios_app_on_mac", sysctl=sysctl)
    assert hardware.type == kind
    assert "mac" not in kind or (hardware.model == "Mac (iOS app)" and hardware.capabilities.fp32_tflops == 0)


def test_the_real_ipad_8_6_is_one() -> None:
    hardware = detected("ios_real_ipad_8_6")
    assert hardware.model == "iPad Pro (12.9-inch) (3rd generation)" and hardware.capabilities.memory_mb == 6144
    assert_tflops(hardware, 1.011, 2.021)


def test_a_simulator_names_the_device_but_not_its_figures() -> None:
    hardware = detected("ios_simulator")
    assert (hardware.type, hardware.model) == ("iphone", "iPhone 15 Pro (simulator)")
    assert hardware.capabilities.chip == "Apple M1 Pro"
    assert_tflops(hardware, 0, 0)


@pytest.mark.parametrize("platform", ["ios", "darwin"])
@pytest.mark.parametrize("machine, brand, gpu", [
    ("arm64", "Apple M1 Pro", "Apple M1 Pro"), ("x86_64", "Intel(R) Core(TM) i7-9750H CPU @ 2.60GHz", "")])
@pytest.mark.parametrize("identifier, kind, name", [
    ("iPhone16,1", "iphone", "iPhone 15 Pro (simulator)"), ("iPad20,3", "ipad", "iPad (unknown model) (simulator)")])
def test_a_simulator_is_told_from_the_mac_that_it_runs_on(
    platform: str, machine: str, brand: str, gpu: str, identifier: str, kind: str, name: str
) -> None:
    probe = recorded.RecordedProbe({
        "platform": platform, "uname": ["Darwin", "desk.local", "25.0.0", "", machine],
        "environ": {"SIMULATOR_MODEL_IDENTIFIER": identifier},
        "sysctl": {"hw.model": "Mac14,9", "hw.ncpu": 10, "machdep.cpu.brand_string": brand}})
    hardware = detect_hardware(probe)
    assert (hardware.type, hardware.model) == (kind, name)
    assert (hardware.capabilities.chip, hardware.capabilities.gpu_type) == (brand, gpu)
    assert hardware.capabilities.fp32_tflops == 0 and not has_processes(probe)


# ---- Linux --------------------------------------------------------------------------------------------


def test_a_laptop_with_nvidia_is_read_without_starting_a_process() -> None:
    probe = recording("linux_pc_nvidia")
    hardware = detect_hardware(probe)
    assert probe.commands_asked == []
    assert hardware.model == "LENOVO ThinkPad X1 Carbon Gen 11" and hardware.physical_cores == 4
    assert hardware.capabilities.chip == "13th Gen Intel(R) Core(TM) i7-1360P"
    assert hardware.capabilities.gpu_type == "NVIDIA GeForce RTX 3090" and hardware.capabilities.supports_cuda
    assert_tflops(hardware, 35.58, 142.3)
    assert_noted(hardware, "Further GPUs: Intel GPU 8086:a7a0")
    assert hardware.capabilities.os_version == "Ubuntu 24.04.1 LTS" and hardware.capabilities.memory_mb == 32768


def test_a_virtual_machine_with_an_h100_as_it_was_seen() -> None:
    probe = recording("linux_h100_vm")
    hardware = detect_hardware(probe)
    assert probe.commands_asked == []
    assert hardware.capabilities.gpu_type == "NVIDIA H100 80GB HBM3" and hardware.capabilities.supports_cuda
    assert (hardware.capabilities.cpu_cores, hardware.capabilities.memory_mb) == (16, 128887)
    assert hardware.capabilities.os_version == "Ubuntu 24.04.3 LTS"
    # Dense figures of the SXM card, tensor cores for FP16: what its maker states, not FP32 doubled.
    assert_tflops(hardware, 66.91, 989.4)
    assert_noted(hardware, "virtual machine")


def test_nvidia_smi_is_asked_only_where_proc_names_no_card() -> None:
    hardware = detected("linux_nvidia_smi")
    assert hardware.capabilities.gpu_type == "NVIDIA GeForce RTX 3080"
    assert_tflops(hardware, 30.64, 122.6)
    assert_noted(hardware, "Further GPUs: NVIDIA GeForce GTX 1050 Ti")
    assert_noted(hardware, "virtual machine")
    without = detected("linux_nvidia_smi", commands={})
    assert not without.capabilities.has_gpu


def test_amd_by_sysfs_beside_a_servers_display() -> None:
    hardware = detected("linux_amd")
    assert hardware.capabilities.gpu_type == "Radeon RX 7900 XTX" and not hardware.capabilities.supports_cuda
    assert_tflops(hardware, 61.39, 122.8)
    assert "Further" not in " ".join(hardware.notes)


def test_a_card_without_a_name_is_given_by_its_number() -> None:
    probe = recording("linux_amd")
    del probe.files["/sys/class/drm/card1/device/product_name"]
    hardware = detect_hardware(probe)
    assert hardware.capabilities.gpu_type == "AMD GPU 1002:744c"
    assert_tflops(hardware, 0, 0)
    assert_noted(hardware, "No figure is known for AMD GPU 1002:744c")


def test_the_limits_of_a_v2_container_are_the_least_on_the_way_up() -> None:
    hardware = detected("linux_container_v2")
    assert hardware.capabilities.cpu_cores == 2, "1.5 CPUs are worked for by two threads"
    assert hardware.capabilities.memory_mb == 4096
    assert_noted(hardware, "limited to 1.5 of 64 CPUs")
    assert_noted(hardware, "limited to 4096 of 262144 MB")
    assert source_of(hardware, "memory_mb") == "memory limit of the control group"


def test_the_limits_of_a_v1_container_are_below_its_mount_point() -> None:
    hardware = detected("linux_container_v1")
    assert (hardware.capabilities.cpu_cores, hardware.capabilities.memory_mb) == (2, 2048)


def test_a_container_without_limits_says_so_and_one_with_limits_says_these() -> None:
    free, bound = recording("linux_hybrid_nested"), recording("linux_container_v2")
    free.files = {path: text for path, text in free.files.items() if "cgroup" not in path}
    for probe, said in ((free, ["Inside a container without limits of its own."]), (bound, [
        "Inside a container limited to 1.5 of 64 CPUs.", "Inside a container limited to 4096 of 262144 MB of memory.",
    ])):
        probe.files["/.dockerenv"] = ""
        hardware = detect_hardware(probe)
        assert [note for note in hardware.notes if "container" in note] == said


def test_hybrid_groups_and_a_nested_limit() -> None:
    hardware = detected("linux_hybrid_nested")
    assert (hardware.capabilities.cpu_cores, hardware.capabilities.memory_mb) == (2, 8192)
    assert not any("CPUs" in note for note in hardware.notes), "a quota of -1 is none"


def test_group_usage_leaves_out_what_would_be_given_back() -> None:
    v2, v1 = recording("linux_container_v2"), recording("linux_container_v1")
    assert group_memory_used(v2, group_limits(v2).memory_group) == 1 << 30
    assert group_memory_used(v1, group_limits(v1).memory_group) == 1 << 29
    assert group_memory_used(v1, "/nowhere") == -1
    assert group_cpu_seconds(v2, group_limits(v2).cpu_time_file) == 5.0
    assert group_cpu_seconds(v1, group_limits(v1).cpu_time_file) == 3.0
    assert group_cpu_seconds(v1, "") == -1.0


@pytest.mark.parametrize("listed", ["0::/../../other", "0::/gone/away", "0::/", "nonsense\n0::/\n:::", "0"])
def test_a_listed_path_that_is_not_there_costs_only_itself(listed: str) -> None:
    probe = recording("linux_container_v2")
    probe.files["/proc/self/cgroup"] = listed
    assert group_limits(probe).cpus == 1.5


@pytest.mark.parametrize("text", ["", "max", "0 0", "x y", "100000", "-1 100000", "1 2 3"])
def test_a_quota_that_makes_no_sense_limits_nothing(text: str) -> None:
    probe = recording("linux_container_v2")
    probe.files["/sys/fs/cgroup/cpu.max"] = text
    assert group_limits(probe).cpus is None


def test_affinity_and_ulimit_bind_too() -> None:
    hardware = detected("linux_pc_nvidia", affinity=[2, 3], memory_rlimit=1 << 30)
    assert (hardware.capabilities.cpu_cores, hardware.capabilities.memory_mb) == (2, 1024)
    assert_noted(hardware, "May run on 2 of 8 CPUs")
    assert_noted(hardware, "ulimit")


def test_a_raspberry_pi_5_is_named_by_board_and_cores() -> None:
    hardware = detected("linux_raspberry_pi_5")
    assert hardware.model == "Raspberry Pi 5 Model B Rev 1.0"
    assert hardware.capabilities.chip == "BCM2712 (4 Cortex-A76)"
    assert_tflops(hardware, 0, 0)


def test_a_raspberry_pi_4_has_a_row() -> None:
    hardware = detected("linux_raspberry_pi_4")
    assert hardware.capabilities.chip == "Broadcom BCM2711 (Raspberry Pi 4)"
    assert hardware.capabilities.gpu_type == "VideoCore VI"
    assert "low confidence" in source_of(hardware, "tflops")


@pytest.mark.parametrize(("release", "words"), [
    ("5.15.153.1-microsoft-standard-WSL2", "Windows Subsystem"), ("4.20.69-ish", "iSH")])
def test_a_linux_inside_something_says_so(release: str, words: str) -> None:
    assert_noted(detected("linux_amd", uname=["Linux", "x", release, "", "x86_64"]), words)


# ---- Android and Windows ------------------------------------------------------------------------------


def test_termux() -> None:
    probe = recording("android_termux")
    hardware = detect_hardware(probe)
    assert (hardware.type, hardware.app, hardware.model) == ("android", "Termux", "Vivo V2026")
    assert hardware.capabilities.chip == "Snapdragon 870 / 865+" and hardware.capabilities.gpu_type == "Adreno 650"
    assert hardware.capabilities.os_version == "Android 13"
    assert_tflops(hardware, 1.375, 0)
    assert has_processes(probe) and device_name(probe, hardware) == "Vivo V2026"
    assert hardware.work_memory_mb == hardware.capabilities.memory_mb // 4


def test_pydroid_in_the_background_has_fewer_cores() -> None:
    hardware = detected("android_pydroid")
    assert (hardware.app, hardware.model) == ("Pydroid", "Google Pixel 8 Pro")
    assert hardware.capabilities.chip == "Google Tensor G3" and hardware.capabilities.gpu_type == "Mali-G715 MP7"
    assert hardware.capabilities.cpu_cores == 5
    assert_tflops(hardware, 0, 0)


def test_an_android_chip_without_a_row_keeps_its_own_name() -> None:
    hardware = detected("android_313_unknown")
    assert (hardware.type, hardware.model) == ("android", "Samsung SM-S156V")
    assert hardware.capabilities.chip == "MT6835" and not hardware.capabilities.has_gpu
    assert_noted(hardware, "No GPU figure is known for the MT6835")


def test_a_windows_laptop() -> None:
    hardware = detected("windows_laptop")
    assert (hardware.type, hardware.model) == ("windows", "ASUSTeK COMPUTER INC. ROG Zephyrus M16")
    assert hardware.capabilities.chip == "12th Gen Intel(R) Core(TM) i7-12700H" and hardware.physical_cores == 14
    assert hardware.capabilities.os_version == "Windows 11 (build 22631)"
    assert hardware.capabilities.gpu_type == "NVIDIA GeForce RTX 3070 Laptop GPU"
    assert hardware.capabilities.supports_cuda
    assert_tflops(hardware, 15.97, 63.88)
    assert_noted(hardware, "Further GPUs: Intel(R) Iris(R) Xe Graphics.")


def test_memory_tells_two_cards_of_one_name_apart() -> None:
    hardware = detected("windows_desktop")
    assert_tflops(hardware, 30.64, 122.6)
    assert hardware.capabilities.os_version == "Windows 10 (build 19045)"


def test_an_unknown_unix_tells_what_every_system_tells() -> None:
    hardware = detected("other_freebsd")
    assert hardware.type == "unknown" and hardware.capabilities.memory_mb == 8192
    assert hardware.capabilities.os_version == "FreeBSD 14.1-RELEASE"


# ---- names and apps -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("hostname", "name"), [
    ("workshop", "workshop"), ("MacBook-Pro.local", "MacBook-Pro"), ("pi.local.", "pi"), ("localhost", "the model"),
    ("", "the model"), ("localhost.local", "the model"), ("iPhone", "the model"), ("a.example.org", "a.example.org")])
def test_a_device_is_called_by_its_hostname_unless_that_says_nothing(hostname: str, name: str) -> None:
    probe = recorded.RecordedProbe({"platform": "linux", "uname": ["Linux", hostname, "", "", ""]})
    assert device_name(probe, Hardware(model="the model")) == name


def test_a_device_without_any_name_is_called_by_chip_or_type() -> None:
    probe = recorded.RecordedProbe({"platform": "linux"})
    assert device_name(probe, Hardware(capabilities=DeviceCapabilities(chip="MT6835"))) == "MT6835"
    assert device_name(probe, Hardware(type="linux")) == "linux"


@pytest.mark.parametrize(("name", "app"), [
    ("ios_pythonista", "Pythonista"), ("ios_ashell_313", "a-Shell"), ("ios_pyto", "Pyto"), ("ios_unknown_iphone", ""),
    ("android_termux", "Termux"), ("android_pydroid", "Pydroid"), ("linux_amd", ""), ("mac_m3_max", "")])
def test_apps_by_their_marks(name: str, app: str) -> None:
    assert app_name(recording(name)) == app


# ---- beside psutil ------------------------------------------------------------------------------------


def test_psutil_agrees() -> None:
    psutil = pytest.importorskip("psutil", reason="psutil is not installed: nothing to compare with")
    probe = Probe()
    hardware = detect_hardware(probe)
    total_mb = psutil.virtual_memory().total >> 20
    assert hardware.capabilities.memory_mb <= total_mb
    assert probe.cpu_count() == psutil.cpu_count(True)
    assert hardware.capabilities.cpu_cores <= psutil.cpu_count(True)
    if sys.platform.startswith("linux"):
        limited = any("limited" in note or "may use" in note for note in hardware.notes)
        assert limited or hardware.capabilities.memory_mb == total_mb
        assert psutil.cpu_count(False) is None or hardware.physical_cores == psutil.cpu_count(False)
