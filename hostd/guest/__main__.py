"""Started by path, as PID 1 of a VM or as a plain process: ``python3 -u /opt/swarm/guest/__main__.py``."""

from __future__ import annotations

import importlib
import os
import sys

if __name__ == "__main__":
    folder = os.path.dirname(os.path.abspath(__file__))
    sys.path[0] = os.path.dirname(folder)
    package = os.path.basename(folder)
    importlib.import_module(f"{package}.init").main()
