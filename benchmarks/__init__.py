"""Speed measurements, and the slow implementation that they compare with."""

import sys
from pathlib import Path

# an accelerator's machine may have what the library needs, but not the library itself
sys.path.append(str(Path(__file__).resolve().parents[1] / "src"))
