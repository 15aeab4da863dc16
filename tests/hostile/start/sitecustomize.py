"""Found by every interpreter that a test starts: ``python -m tests.hostile`` puts this folder on ``PYTHONPATH``."""

import os
import sys
from pathlib import Path

if os.environ.get("DURABLE_HOSTILE"):
    sys.path.append(str(Path(__file__).resolve().parents[3]))
    from tests.hostile.configurations import apply

    apply()
