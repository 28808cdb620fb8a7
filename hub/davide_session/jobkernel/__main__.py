"""`python -I -m davide_session.jobkernel ORDER`, as the kernel's batch script starts it."""

import sys

from davide_session.jobkernel.supervise import main

sys.exit(main(sys.argv[1:]))
