"""The folder of shared references and data; tests that need it are skipped if it is missing."""

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1].parent / "shared"
REFERENCE = ROOT / "reference"
DATA = ROOT / "data"

needs_reference = pytest.mark.skipif(
    not REFERENCE.is_dir(), reason=f"golden vectors are not here: {REFERENCE}"
)
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason=f"real data are not here: {DATA}")
