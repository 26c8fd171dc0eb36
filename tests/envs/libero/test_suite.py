"""The official init states are read from LIBERO's package; a file that is damaged or does not fit is named."""

from __future__ import annotations

import pickle
import shutil
import zipfile

import numpy as np
import pytest

from envs.libero import suite as suites
from envs.types import InitStateError, TaskError

TASK = suites.tasks("libero_object")[3]


@pytest.fixture
def file(tmp_path, monkeypatch):
    """The init file of the task, in a folder where it can be damaged."""
    own = suites.package_folder() / "init_files" / TASK.suite / f"{TASK.name}.pruned_init"
    copy = tmp_path / "init_files" / TASK.suite / own.name
    copy.parent.mkdir(parents=True)
    shutil.copy(own, copy)
    monkeypatch.setattr(suites, "package_folder", lambda: tmp_path)
    return copy


def archive(file, content: object) -> None:
    """Write an init file around any object."""
    with zipfile.ZipFile(file, "w") as packed:
        packed.writestr("archive/data.pkl", pickle.dumps(content))


def test_an_intact_file_has_fifty_states(file):
    assert suites.init_states(TASK).shape == (suites.INIT_STATES, suites.init_states(TASK).shape[1])


@pytest.mark.parametrize("harm", [
    lambda f: f.unlink(), lambda f: f.write_bytes(b""), lambda f: f.write_text("not an archive"),
    lambda f: f.write_bytes(f.read_bytes()[:-400]), lambda f: archive(f, "text"), lambda f: archive(f, [[1.0], [1, 2]]),
    lambda f: zipfile.ZipFile(f, "w").close(),
])
def test_a_file_that_cannot_be_read_is_named_with_its_mend(file, harm):
    harm(file)
    with pytest.raises(InitStateError, match=rf"cannot read the init states in {file} .*force-reinstall"):
        suites.init_states(TASK)


@pytest.mark.parametrize(("content", "reason"), [
    (np.zeros(5), r"shape \(5,\), legal is \(states, 7\)"), (np.zeros((0, 7)), r"shape \(0, 7\)"),
    (np.zeros((3, 6)), r"shape \(3, 6\), legal is \(states, 7\)"),
    (np.array([np.zeros(7), [0, 0, np.nan, 0, 0, 0, 0]]), "nan in init state 1, legal are finite numbers"),
])
def test_states_that_do_not_fit_the_scene_are_named_with_what_would(file, content, reason):
    archive(file, content)
    with pytest.raises(InitStateError, match=f"{file} holds .*{reason}.*force-reinstall"):
        suites.init_states(TASK, 7)


@pytest.mark.parametrize("index", [-1, 50, 1.0, "3", True])
def test_an_init_state_that_does_not_exist_is_answered_with_the_legal_range(index):
    with pytest.raises(InitStateError, match=rf"has no init state {index!r}, legal are 0 \.\. 49"):
        suites.check_init_state(TASK, index, 50)


def test_an_unknown_suite_is_answered_with_the_near_one():
    with pytest.raises(TaskError, match="unknown suite 'libero_objct'; did you mean 'libero_object'"):
        suites.tasks("libero_objct")
