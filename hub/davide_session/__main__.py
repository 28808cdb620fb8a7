"""`python -I -m davide_session`, as the batch script starts it."""

import sys

from davide_session.launch import main

sys.exit(main())
