"""A device that another package brings, found through its entry point."""

from __future__ import annotations

import json

import pytest

from bench.cli import main
from bench.errors import UsageError
from bench.listing import listing
from bench.timing.probe import devices, open_probe

PLUGIN = '''
import time
from bench.timing.cpu import CpuProbe


class AcmeProbe(CpuProbe):
    device = "acme"

    def once_ms(self, step):
        step()
        return 7.0

    def facts(self):
        return {"name": "Acme board"}
'''


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Writes a package with an entry point as an installer leaves it; gives its module's path."""
    info = tmp_path / "site" / "acme_board-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-board\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[qvla_bench.timing]\nacme = acme_board:AcmeProbe\n")
    module = tmp_path / "site" / "acme_board.py"
    module.write_text(PLUGIN)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    monkeypatch.delitem(__import__("sys").modules, "acme_board", raising=False)
    return module


def test_a_device_of_another_package_is_timed_like_our_own(installed, tmp_path, capsys):
    assert devices()[0] == "acme" and open_probe("auto").device == "acme"
    out = tmp_path / "acme.json"
    assert main(["time", "--policy", "toy-vla", "--method", "rtn:w8a8", "--rounds", "2", "--threads", "1", "--device",
                 "acme", "--out", str(out)]) == 0
    content = json.loads(out.read_text())
    assert content["device"] == "acme" and content["facts"]["name"] == "Acme board"
    assert all(timed["samples_ms"] == [7.0, 7.0] for timed in content["variants"].values())
    assert main(["list"]) == 0
    assert "acme" in capsys.readouterr().out


def test_a_broken_plug_in_is_named_with_its_package(installed):
    installed.write_text("raise OSError('libacme.so is missing')\n")
    with pytest.raises(UsageError, match="acme = acme_board:AcmeProbe of package acme-board .*libacme.so is missing"):
        open_probe("auto")
    assert open_probe("cpu").device == "cpu" and "libacme.so is missing" in listing()
