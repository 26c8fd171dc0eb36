"""Lines of `nvidia-smi`, `tegrastats` and `nvpmodel` as their documentation has them; the files here are samples."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from bench.timing import nvidia_smi, tegrastats

SAMPLES = Path(__file__).parent / "samples"


def lines(name: str) -> list[str]:
    return (SAMPLES / name).read_text().splitlines()


def test_a_line_of_tegrastats_gives_rails_clocks_and_temperatures():
    comment, first, second = map(tegrastats.parse_stream, lines("tegrastats_agx_orin.txt"))
    assert comment is None
    assert first["vdd_gpu_soc_w"] == 18.5 and first["vddq_vdd2_1v8ao_w"] == 1.4
    # The rail of the memory is fed by VIN_SYS_5V0 and must not be counted twice.
    assert first["power_w"] == pytest.approx(18.5 + 1.9 + 6.1)
    assert (first["gpu_mhz"], first["busy_percent"], first["memory_mhz"]) == (1300, 97, 3199)
    assert (first["cpus_on"], first["cpu_mhz"], first["memory_used_mib"]) == (8, 2201, 9120)
    assert first["gpu_c"] == 50.75 and first["tj_c"] == 51.5
    assert second["gpu_c"] == 51.75 and second["gpu_mhz"] == 1300


def test_a_sensor_that_is_switched_off_has_no_temperature():
    reading = tegrastats.parse_stream(lines("tegrastats_agx_orin.txt")[1])
    assert "cv0_c" not in reading and not [name for name in reading if str(reading[name]).startswith("-")]


def test_power_needs_all_input_rails():
    reading = tegrastats.parse_stream("RAM 1/2MB (lfb 1x4MB) GR3D_FREQ 0% VDD_GPU_SOC 2000mW/2000mW")
    assert reading["vdd_gpu_soc_w"] == 2 and "power_w" not in reading


@pytest.mark.parametrize(("text", "mode"), [
    ("NV Power Mode: MAXN\n0\n", {"power_mode": "MAXN", "power_mode_number": 0}),
    ("NVPM WARN: fan mode is not set!\nNV Power Mode: MODE_30W\n2\n", {"power_mode": "MODE_30W",
                                                                      "power_mode_number": 2}),
    ("permission denied", None),
])
def test_the_power_mode_is_read_by_name_and_number(text, mode):
    assert tegrastats.parse_mode(text) == mode


def test_a_power_mode_that_cannot_be_read_has_a_reason():
    def absent(*args, **kwargs):
        raise FileNotFoundError("nvpmodel")

    def refused(*args, **kwargs):
        return subprocess.CompletedProcess(args, 1, "", "permission denied")

    assert "cannot be run" in tegrastats.power_mode(absent)["reason"]
    assert "permission denied" in tegrastats.power_mode(refused)["reason"]


def test_a_line_of_nvidia_smi_gives_clocks_power_and_why_they_are_low():
    readings = [nvidia_smi.parse_stream(line) for line in lines("nvidia_smi_rtx4070.txt")]
    assert readings[0] is None
    assert readings[1] == {"sm_mhz": 2610, "memory_mhz": 10251, "gpu_c": 58, "power_w": 142.31,
                           "memory_used_mib": 3120, "busy_percent": 97, "pstate": "P2", "throttle": "none"}
    assert readings[2]["throttle"] == "power cap"
    assert readings[3]["throttle"] == "power cap + thermal slowdown (software)"


def test_what_a_card_does_not_tell_is_absent():
    last = nvidia_smi.parse_stream(lines("nvidia_smi_rtx4070.txt")[-1])
    assert "sm_mhz" not in last and "power_w" not in last and last["memory_mhz"] == 10251


@pytest.mark.parametrize("line", ["", "No devices were found", "1, 2, 3", "a, 1, 2, 3, 4, 5, P0, 0x0"])
def test_another_line_is_no_reading(line):
    assert nvidia_smi.parse_stream(line) is None


def test_a_bit_without_a_name_is_shown():
    assert nvidia_smi.reasons(0x401) == "idle + 0x400" and nvidia_smi.reasons(0) == "none"


def test_facts_of_a_card_or_why_there_are_none():
    def answer(text, code=0):
        return lambda command, **options: subprocess.CompletedProcess(command, code, text, "")

    facts = nvidia_smi.static_facts(run=answer("NVIDIA GeForce RTX 4070, 550.54.14, 3105, 10501, 200.00, 12282\n"))
    assert facts["name"] == "NVIDIA GeForce RTX 4070" and facts["power_limit_w"] == 200
    assert "driver/library" in nvidia_smi.static_facts(run=answer("Failed: driver/library mismatch", 18))["reason"]


def test_both_commands_ask_for_what_is_parsed():
    assert nvidia_smi.stream_command(1)[1] == "--id=1"
    assert "clocks.sm,clocks.mem" in " ".join(nvidia_smi.stream_command())
    assert tegrastats.stream_command() == ["tegrastats", "--interval", "100"]
