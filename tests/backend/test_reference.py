# SPDX-License-Identifier: Apache-2.0
"""The reference page: what the code says, and nothing public without a docstring."""

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location(
        "list_reference", ROOT / "scripts" / "list_reference.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_public_member_has_a_docstring(script):
    assert script.undocumented() == []


def test_the_page_is_what_the_code_says(script):
    assert (ROOT / "docs" / "reference.md").read_text() == script.page(), (
        "run scripts/list_reference.py"
    )
