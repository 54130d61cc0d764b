"""What the tests of `auto-decoding` share: a field with latents, and signals."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="session")
def double() -> ModuleType:
    """``latent_double.py``, beside this file."""
    spec = importlib.util.spec_from_file_location("latent_double", Path(__file__).with_name("latent_double.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
