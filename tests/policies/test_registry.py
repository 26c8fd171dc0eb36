from __future__ import annotations

import pytest

from policies.registry import POLICIES


@pytest.mark.parametrize("name", [name for name, entry in POLICIES.items() if entry.folder is not None])
def test_a_published_checkpoint_is_found_by_functions_of_its_own_module(name):
    entry = POLICIES[name]
    assert isinstance(entry.takes, str) and isinstance(entry.denoises, bool)
    assert entry.resolve.endswith(".resolve") and entry.folder.endswith(".folder")
    assert entry.resolve.startswith("policies.") and ":" in entry.resolve and ":" in entry.folder
