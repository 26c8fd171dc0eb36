from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree

import numpy as np
import pandas as pd
import pytest

from reports.load import load_run
from reports.plots.bits import bits_per_layer, layer_shares
from reports.plots.draw import draw_plots
from reports.plots.drift import closed_loop_distances, drift_over_time, percentiles
from reports.plots.figure import COLOURS
from reports.plots.success import forest, pareto, pareto_front
from reports.table import results


@pytest.fixture
def drawn_folder(filmed_folder):
    """A run with traces, timing and an audit of layers."""
    (filmed_folder / "timings").mkdir()
    variants = {v: {"median_ms": 1.0, "p95_ms": 2.0, "samples_ms": [1.0, 2.0]} for v in ("fp00", "qvla")}
    (filmed_folder / "timings" / "cpu.json").write_text(json.dumps({"variants": variants, "speedup": {}}))
    path = filmed_folder / "audits" / "qvla.json"
    layer = {"role": "language", "reason": None}
    path.write_text(json.dumps(json.loads(path.read_text()) | {"layers": [
        layer | {"name": "a<b>", "status": "quantized", "bits": {"4": 6, "8": 2}},
        layer | {"name": "c", "status": "kept", "bits": {"16": 8}}]}))
    return filmed_folder


def test_a_full_run_has_every_plot_and_drawing_again_gives_the_same_bytes(drawn_folder):
    run = load_run(drawn_folder)
    plots = draw_plots(run, results(run))
    assert [plot.name for plot in plots] == ["forest", "drift", "latency", "pareto", "bits"]
    assert draw_plots(run, results(run)) == plots


def test_a_plot_is_valid_svg_without_stand_in_colours_and_with_identifiers_of_its_own(run_folder):
    run = load_run(run_folder)
    plots = [forest(run), pareto(results(run))]
    found = []
    for plot in plots:
        for text in (plot.inline(), plot.alone()):
            ElementTree.fromstring(text)
            assert not [c for c in COLOURS if c in text]
        assert "var(" in plot.inline() and "var(" not in plot.alone()
        found += [e.get("id") for e in ElementTree.fromstring(plot.inline()).iter() if e.get("id")]
    assert len(found) == len(set(found))


def test_a_run_without_data_for_a_plot_has_no_such_plot(run_folder):
    (run_folder / "episodes.jsonl").unlink()
    run = load_run(run_folder)
    assert draw_plots(run, results(run)) == []


def test_the_forest_names_every_task_and_variant(run_folder):
    text = forest(load_run(run_folder)).svg
    for word in ("Object 0", "Object 1", "Spatial 0", "full precision", "rtn:bits=4", "qvla"):
        assert word in text


def test_distances_are_those_of_the_traces(filmed_folder):
    run = load_run(filmed_folder)
    rtn = next(v for v in run.variants if v.method.startswith("rtn"))
    distances, pairs = closed_loop_distances(run, rtn)
    assert pairs == 6 and len(distances) == 1
    assert distances[0] == pytest.approx(np.maximum(np.arange(20) - 4, 0))
    assert "1 of 6 pairs" in drift_over_time(run).caption


def test_percentiles_end_with_the_step_that_half_of_the_episodes_reach():
    low, middle, high = percentiles([np.zeros(2), np.full(4, 10.0), np.full(9, 20.0)])
    assert len(middle) == 4 and list(middle) == [10, 10, 15, 15]
    assert (low <= middle).all() and (middle <= high).all()


def test_the_front_holds_what_no_smaller_variant_reaches():
    frame = pd.DataFrame({"memory_mb": [10, 5, 3, 4, 5], "average": [90, 90, 50, 40, 95]}, index=list("abcde"))
    assert list(pareto_front(frame).index) == ["c", "e"]


def test_shares_of_bits_are_of_the_layers_channels():
    assert layer_shares([{"bits": {"4": 6, "8": 2}}, {"bits": {}}]) == [{"4": 0.75, "8": 0.25}, {}]


def test_full_precision_alone_has_no_plot_of_bits(run_folder):
    assert bits_per_layer(load_run(run_folder)) is None
