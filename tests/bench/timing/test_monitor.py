from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from bench.timing import nvidia_smi
from bench.timing.energy import energy
from bench.timing.monitor import Monitor, summarise

SAMPLE = Path(__file__).parent / "samples" / "nvidia_smi_rtx4070.txt"
REPEATED = f"import time\nwhile True:\n print(open({str(SAMPLE)!r}).read(), flush=True, end=''); time.sleep(0.02)"


def monitor(program: str, patience_s: float = 10.0) -> Monitor:
    return Monitor([sys.executable, "-c", program], nvidia_smi.parse_stream, patience_s)


def test_readings_are_those_of_the_time_that_was_listened():
    with monitor(REPEATED) as heard:
        time.sleep(0.3)
    summary = heard.to_json()
    assert summary["power_w"]["n"] >= 3 and summary["power_w"]["max"] == 199.95
    assert summary["seconds"] == pytest.approx(0.3, abs=0.2)
    assert set(summary["throttle"]) == {"none", "power cap", "power cap + thermal slowdown (software)"}


def test_a_command_that_is_missing_is_a_reason_and_no_figure():
    with Monitor(["no-such-command"], nvidia_smi.parse_stream) as heard:
        pass
    assert list(heard.to_json()) == ["reason"] and "no-such-command cannot be run" in heard.to_json()["reason"]


def test_a_command_that_says_nothing_is_a_reason():
    with monitor("import time; time.sleep(60)", patience_s=0.3) as heard:
        pass
    assert "gave no readings within 0.3 s" in heard.to_json()["reason"]


def test_a_command_that_falls_silent_is_a_reason():
    with monitor(f"print(open({str(SAMPLE)!r}).read(), flush=True); import time; time.sleep(60)") as heard:
        time.sleep(0.05)
    assert "gave no reading in" in heard.to_json()["reason"]


def test_a_number_is_summarised_where_it_was_told():
    summary = summarise([{"a": 1.0, "w": "x"}, {"w": "x"}, {"a": 3.0, "w": "y"}])
    assert summary == {"a": {"n": 2, "median": 2.0, "min": 1.0, "max": 3.0, "mean": 2.0}, "w": {"x": 2, "y": 1}}


def telling(power: str) -> str:
    """A program that prints lines with this power."""
    return f"import time\nwhile True:\n print('1,2,3,{power},5,6,P0,0x0', flush=True); time.sleep(.01)"


class PowerProbe:
    device, torch_device, measures_power, peaks = "sample", "cpu", True, None

    def __init__(self, program: str) -> None:
        self.program = program

    def once_ms(self, step):
        step()
        time.sleep(0.01)
        return 10.0

    def watch(self):
        return monitor(self.program, 2.0)


def test_energy_is_mean_power_times_time_over_decisions():
    found = energy(PowerProbe(telling("50.0")), lambda value: value, [1], seconds=0.3)
    assert found["mj_per_decision"] == pytest.approx(1e3 * 50.0 * found["seconds"] / found["decisions"])
    assert found["decisions"] > 3 and found["heard"]["power_w"]["mean"] == 50.0


def test_without_a_power_reading_there_is_no_energy_but_a_reason():
    found = energy(PowerProbe(telling("[N/A]")), lambda value: value, [1], seconds=0.1)
    assert found["mj_per_decision"] is None and "told no power" in found["reason"]
