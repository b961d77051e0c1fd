"""One run, as the command line has it."""

from __future__ import annotations

import json
import sys

from .libraries import PACKAGES, versions
from .lines import say
from .run import run

if sys.argv[1] == "check":
    say(result=versions(*PACKAGES))
else:
    run(sys.argv[1], sys.argv[2], json.loads(sys.argv[3]))
