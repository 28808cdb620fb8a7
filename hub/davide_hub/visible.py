"""Text of others in a line of ours: what could end the line, or move a terminal's cursor, is shown as an escape."""

from __future__ import annotations


def visible(text: str, keep: str = "") -> str:
    r"""Return text in which every character can be seen: a line break as \n, an escape as \x1b.

    Parameters
    ----------
    text
        Whatever somebody sent.
    keep
        Characters that stay as they are.
    """
    if text.isprintable():
        return text
    shown = (one if one.isprintable() or one in keep else one.encode("unicode_escape").decode() for one in text)
    return "".join(shown)
