"""The tables of a report as text: headings, cells and footnotes, the same for Markdown and HTML.

A cell without a measurement is a dash with a footnote mark; cells with the same reason share one footnote.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from reports.load import RunData
from reports.measures import MEGABYTE, PERCENTILES, SHORT_NAMES, suites_of, timed_devices, timed_names
from reports.sources import episodes_link
from reports.table import Results, tasks_frame
from reports.timings import STAGES

DASH = "–"
"""What stands where nothing was measured."""


@dataclass(frozen=True)
class Cell:
    """One cell of a table."""

    text: str
    """What it shows."""
    note: int | None = None
    """Number of the footnote, counted from 1 in its table."""
    link: str | None = None
    """What it was computed from, relative to the run folder; None if nothing is known of it."""


@dataclass(frozen=True)
class TextTable:
    """One table, ready to be drawn."""

    title: str
    """Heading above it."""
    caption: str
    """What the figures are: definitions and units."""
    headings: Sequence[str]
    """One per column; the first column names the row."""
    rows: Sequence[Sequence[Cell]]
    """One per row."""
    notes: Sequence[str]
    """Footnote i + 1 is notes[i]."""


@dataclass(frozen=True)
class Column:
    """One column of a table about variants."""

    heading: str
    """What stands above it, with the unit."""
    show: str | Callable[[Any], str]
    """A format string, or a function of the value, or of several values in a list."""
    sources: tuple[str, ...]
    """The columns of the results frame that it shows."""


def write_p(p: float) -> str:
    """A p-value; below a thousandth only that."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def write_number(value: float) -> str:
    """Three significant digits, without an exponent."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def write_points(points: float) -> str:
    """A signed difference, with a minus sign that is as wide as the plus."""
    return f"{points:+.1f}".replace("-", "−")


def _points_range(ends: Sequence[float]) -> str:
    return " to ".join(write_points(end) for end in ends)


def write_megabytes(size_bytes: float) -> str:
    """Bytes as megabytes."""
    return f"{size_bytes / MEGABYTE:.2f}"


def write_gigabytes(gigabytes: float) -> str:
    """Gigabytes with the digits that a small model needs."""
    return f"{gigabytes:.2f}" if gigabytes >= 1 else f"{gigabytes:.4f}"


def _triple(values: Sequence[float]) -> str:
    return " / ".join(write_number(v) for v in values)


def _column(heading: str, show: str | Callable[[Any], str], *sources: str) -> Column:
    return Column(heading, show, sources)


def _write(column: Column, values: list[Any]) -> str:
    if callable(column.show):
        return column.show(values[0] if len(values) == 1 else values)
    return column.show.format(*values)


def variant_table(table: Results, title: str, caption: str, columns: Sequence[Column]) -> TextTable:
    """A table with a row per variant and the given columns."""
    notes: dict[str, int] = {}
    rows = []
    for variant_id, row in table.frame.iterrows():
        cells = [Cell(row["label"], link=table.links.get((str(variant_id), "label")))]
        for column in columns:
            values = [row[source] for source in column.sources]
            if any(value is None for value in values):
                empty = next(s for s, v in zip(column.sources, values, strict=True) if v is None)
                reason = table.reasons[(str(variant_id), empty)]
                cells.append(Cell(DASH, notes.setdefault(reason, len(notes) + 1)))
            else:
                cells.append(Cell(_write(column, values), link=table.links.get((str(variant_id), column.sources[0]))))
        rows.append(cells)
    return TextTable(title, caption, ["Method", *(c.heading for c in columns)], rows, list(notes))


def variant_tables(run: RunData, table: Results) -> list[TextTable]:
    """The tables about variants: results, evidence, memory, drift, latency, and one for each timed device."""
    suites = [SHORT_NAMES.get(s, s) for s in suites_of(run)]
    speed = [_column(f"Speed-up ({d})", "{:.2f}×", f"speedup_{d}") for d in timed_devices(run)]
    return [
        variant_table(table, "Results", (
            "Success rates in percent; the average is the mean over suites, the difference is in percentage points "
            "over the episodes that the method and full precision both finished. Memory is what the weights take as "
            "saved (1 GB = 10⁹ bytes). The interval is the 95 % Wilson interval of all n episodes."), [
            _column("Setting", "{}", "setting"), *(_column(f"{s} %", "{:.1f}", s) for s in suites),
            _column("Average %", "{:.1f}", "average"),
            _column("Difference", write_points, "difference_points"),
            _column("Memory GB", write_gigabytes, "memory_gb"),
            _column("Memory %", "{:.1f}", "storage_percent"), *speed,
            _column("Drift mm", write_number, "drift_translation_mm"), _column("n", "{}", "n"),
            _column("95 % interval", "{:.1f} – {:.1f}", "wilson95_low", "wilson95_high"),
            _column("Verdict", "{}", "verdict")]),
        variant_table(table, "Evidence", (
            "An error is an episode that crashed; it is not part of n and is tried again. Repaired: full precision "
            "failed and the method succeeded on the same episode; regressed: the reverse. The interval of the "
            "difference is, at either end, the wider of Tango's score interval and of that from the spread between "
            "tasks. p is McNemar's exact two-sided test of the two."), [
            _column("Successes", "{}", "successes"), _column("n", "{}", "n"), _column("Errors", "{}", "errors"),
            _column("Pairs", "{}", "pairs"), _column("Repaired", "{}", "repaired"),
            _column("Regressed", "{}", "regressed"), _column("Difference", write_points, "difference_points"),
            _column("95 % interval of it", _points_range, "difference_low", "difference_high"),
            _column("McNemar p", write_p, "mcnemar_p")]),
        variant_table(table, "Verdict", (
            "Adjusted for the number of methods (Holm): for either question, all verdicts together are wrong in at "
            "most 5 % of runs. Differs: p of no difference. Not worse: p of being worse by the margin, in percentage "
            "points, or more; below 0.05 the method is non-inferior. Pairs for the margin: how many an equal method "
            "would need to be found non-inferior with a chance of 80 %, if as many differ as here. Undecided is no "
            "evidence of equality."), [
            _column("Verdict", "{}", "verdict"), _column("Differs p", write_p, "different_p"),
            _column("Margin", "{:g}", "margin_points"), _column("Not worse p", write_p, "noninferior_p"),
            _column("Pairs", "{}", "pairs"), _column("Pairs for the margin", "{:,}", "pairs_for_margin")]),
        variant_table(table, "Memory", (
            "1 MB = 10⁶ bytes. Saved: the file of weights. Held: what the process keeps for them. Components: the "
            "quantized layers, with scales and positions. Percent of the same figure in full precision."), [
            _column("Saved MB", "{:.2f}", "memory_mb"), _column("Saved %", "{:.1f}", "storage_percent"),
            _column("Held MB", write_megabytes, "held_bytes"),
            _column("Held %", "{:.1f}", "held_percent"),
            _column("Components MB", write_megabytes, "component_bytes"),
            _column("Components %", "{:.1f}", "component_percent"),
            _column("Mean bits per channel", "{:.2f}", "mean_bits"),
            _column("Mean bits per weight", "{:.2f}", "mean_bits_per_weight"), _column("Backend", "{}", "backend")]),
        variant_table(table, "Drift", (
            "Both policies on the observations of the full-precision episode. Translation and rotation: mean absolute "
            "difference of the commands per action, mean of the axes and x / y / z; gripper flips per 100 actions. "
            "Summed: length of the summed difference of translation at the end of an episode. First divergence: "
            "median control step at which the closed-loop end effectors are first farther apart than the threshold; "
            "diverged: episodes in which they ever were."), [
            _column("Translation mm", write_number, "drift_translation_mm"),
            _column("x / y / z mm", _triple, *(f"drift_translation_{a}_mm" for a in "xyz")),
            _column("Rotation deg", write_number, "drift_rotation_deg"),
            _column("x / y / z deg", _triple, *(f"drift_rotation_{a}_deg" for a in "xyz")),
            _column("Gripper flips per 100", write_number, "gripper_flips_per_100_actions"),
            _column("Summed mm", write_number, "drift_cumulative_mm"),
            _column("First divergence", "{:g}", "first_divergence_step_median"),
            _column("Diverged", "{}", "diverged_episodes"),
            _column("Threshold mm", "{:g}", "divergence_threshold_mm")]),
        variant_table(table, "Latency", (
            "Wall time of one decision inside the episodes, on the machine named below and whatever else it was "
            "doing; the first decision of a process is not among them. Deadline: a decision longer than the 50 ms of a "
            "control step, in simulated time where the world went on while the policy decided; held: steps that "
            "passed without a plan meanwhile. Recording: share of an episode that traces and observations took. "
            "Process: greatest memory of the process, simulator included; device: of the accelerator."), [
            *(_column(heading, write_number, f"latency_ms_{name}") for name, heading in zip(
                PERCENTILES, ("Median ms", *(f"{p}th percentile ms" for p in (90, 95, 99))), strict=True)),
            _column("Decisions", "{}", "latency_decisions"),
            _column("Deadlines missed %", "{:.1f}", "deadline_misses_percent"),
            _column("Held steps %", "{:.1f}", "held_steps_percent"),
            _column("Recording %", "{:.2f}", "recording_percent"),
            _column("Process MB", write_megabytes, "peak_process_bytes"),
            _column("Device MB", write_megabytes, "peak_device_bytes")]),
        *(variant_table(table, f"Timing on {device}", (
            "Separate timing of all methods in turns, warm-up left out: the only source of a speed-up, which is the "
            "median of the ratios within rounds; its range has 90 % of them. Stages: medians of a pass of its own. "
            "Energy: of one decision, measured while the method alone decides, what the device takes when idle "
            "included. Device: what the method alone takes of the device's memory. Estimate: no measurement, but how "
            "long the linear layers must take at least by the device's published peaks."), [
            *(_column(heading, write_number, name) for heading, name in zip(
                ("Median ms", *(f"{p}th percentile ms" for p in (90, 95, 99))), timed_names(device), strict=True)),
            _column("Speed-up", "{:.2f}×", f"speedup_{device}"),
            _column("Range", "{:.2f}–{:.2f}×", f"speedup_{device}_low", f"speedup_{device}_high"),
            *(_column(f"{stage.capitalize()} ms", write_number, f"{stage}_ms_{device}") for stage in STAGES),
            _column("Energy mJ", write_number, f"energy_mj_{device}"),
            _column("Device MB", write_megabytes, f"device_bytes_{device}"),
            _column("Estimate: at least ms", write_number, f"estimate_ms_{device}")])
          for device in run.timings or ()),
    ]


def tasks_table(run: RunData) -> TextTable:
    """Successes of n per task and variant; a task that a variant has not finished is a dash."""
    frame = tasks_frame(run)
    labels = list(dict.fromkeys(frame["label"]))
    notes: dict[str, int] = {}
    rows = []
    for (suite, task, instruction), group in frame.groupby(["suite", "task", "instruction"], sort=False):
        cells = [Cell(f"{SHORT_NAMES.get(suite, suite)} {task}"), Cell(instruction)]
        for n, successes, errors, variant in zip(*(group[c] for c in ("n", "successes", "errors", "variant_id")),
                                                 strict=True):
            reason = "every attempt ended in an error" if errors else "no episode of this task has finished"
            link = episodes_link(variant, {"task": f"{suite}-{task}"})
            cells.append(Cell(f"{successes}/{n}", link=link) if n
                         else Cell(DASH, notes.setdefault(reason, len(notes) + 1)))
        rows.append(cells)
    return TextTable("Tasks", "Successes of finished episodes.", ["Task", "Instruction", *labels], rows, list(notes))
