import json
import xml.etree.ElementTree as ElementTree

import pytest

from reports.load import load_run
from reports.pareto import write_pareto
from reports.plots.heatmap import bits_heatmap, mean_bits, run_heatmap
from reports.plots.sensitivity import run_sensitivity, sensitivity
from reports.plots.tradeoff import drift_against_bytes, pareto_front

LAYERS = [
    {"name": "vision.layer.0.fc1", "role": "vision", "status": "quantized", "bits": {"0": 2, "4": 2}},
    {"name": "vision.layer.1.fc1", "role": "vision", "status": "quantized", "bits": {"8": 4}},
    {"name": "head", "role": "action_head", "status": "kept", "bits": {"16": 7}},
    {"name": "middle", "role": "language", "status": "quantized", "bits": {"16": 1}},
]
QUANTILES = {"vision.layer.0.fc1": {"2": [0.0, 1e-6, 1e-5, 1e-4, 1.0], "4": [0.0, 0.0, 0.0, 0.0, 0.0]}}


def point(series: str, share: float, drift: float) -> dict:
    return {"series": series, "method": f"{series}-{share}", "bytes_share": share, "drift": drift, "gripper_flips": 0}


def test_cells_are_mean_bits_of_quantized_layers_by_role_kind_and_block():
    assert mean_bits(LAYERS) == {("vision fc1", 0): 2.0, ("vision fc1", 1): 8.0, ("language middle", 0): 16.0}


def test_the_heatmap_writes_the_mean_bits_into_its_cells():
    text = bits_heatmap([("qvla", LAYERS)]).svg
    for word in ("vision fc1", "language middle", "2.0", "8.0", "16.0", "qvla"):
        assert word in text
    assert "action_head" not in text and bits_heatmap([]) is None


def test_a_run_draws_what_its_audits_measured(run_folder):
    assert run_heatmap(load_run(run_folder)) is None and run_sensitivity(load_run(run_folder)) is None
    path = run_folder / "audits" / "qvla.json"
    audit = json.loads(path.read_text()) | {"layers": LAYERS, "diagnostics": {"sensitivity_quantiles": QUANTILES}}
    path.write_text(json.dumps(audit))
    assert "vision fc1" in run_heatmap(load_run(run_folder)).svg
    assert "vision.layer.0.fc1" in run_sensitivity(load_run(run_folder)).svg


def test_sensitivities_of_exactly_nothing_can_be_drawn():
    ElementTree.fromstring(sensitivity("qvla", QUANTILES).alone())


def test_the_front_holds_what_no_smaller_point_reaches():
    points = [point("a", 0.3, 0.01), point("a", 0.2, 0.05), point("b", 0.25, 0.06), point("b", 0.4, 0.001)]
    assert [p["method"] for p in pareto_front(points)] == ["a-0.2", "a-0.3", "b-0.4"]
    assert drift_against_bytes(points) == drift_against_bytes(points)


def test_pictures_and_table_come_from_the_file_alone(tmp_path):
    sweep = {"policy": "p", "points": [point("a", 0.3, 0.01), point("b", 0.4, 0.02)], "layers": {"a-0.3": LAYERS},
             "sensitivity": {"a-0.3": QUANTILES}}
    (tmp_path / "sweep.json").write_text(json.dumps(sweep))
    names = [path.name for path in write_pareto(tmp_path)]
    assert names == ["points.csv", "pareto.svg", "bits-heatmap.svg", "sensitivity.svg"]
    assert (tmp_path / "points.csv").read_text().splitlines()[0].startswith("series,method,bytes_share,drift")


def test_a_sweep_without_points_is_an_error(tmp_path):
    (tmp_path / "sweep.json").write_text(json.dumps({"points": [], "layers": {}, "sensitivity": {}}))
    with pytest.raises(ValueError, match="no points"):
        write_pareto(tmp_path)
