"""Lines of the hub's log without secrets, wherever in an address they stand.

JupyterHub leaves out the values of such parameters, but not where an address is itself a parameter of another: `next`
of the log-in page, `url` of the page for a session that does not answer. Programs write tokens into addresses.
"""

from __future__ import annotations

import logging
import re

# "?", "&" and "=" as they are, or quoted once, twice or more.
_BEGINS, _IS = (rf"(?:[{plain}]|%(?:25)*{quoted})" for plain, quoted in (("?&", "(?:3F|26)"), ("=", "3D")))
_NAME = r"[\w.-]*(?:token|auth|key|code|state|xsrf)[\w.-]*"
_PARAMETER = re.compile(rf"({_BEGINS}{_NAME}{_IS})(?:(?!%(?:25)*26)[^&\s\"')])+", re.IGNORECASE)


class Discreet(logging.Filter):
    """Takes secrets out of every record that passes."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Change the record, and let it pass."""
        try:
            text = record.getMessage()
        except (TypeError, ValueError):
            return True  # arguments that don't fit: the handler tells of that
        record.msg, record.args = without_secrets(text), None
        return True


def without_secrets(text: str) -> str:
    """Return a line with "[secret]" in place of what parameters like `token` say."""
    return _PARAMETER.sub(r"\1[secret]", text)
