"""`python -m davide_hub` is `davide-hub`, also from a checkout where nothing is installed."""

import sys

from davide_hub.cli import main

sys.exit(main())
