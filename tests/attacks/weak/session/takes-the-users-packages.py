"""The server's Python has the user's own site-packages, and runs what lies there at its start."""

import site

site.addsitedir(site.getusersitepackages())
