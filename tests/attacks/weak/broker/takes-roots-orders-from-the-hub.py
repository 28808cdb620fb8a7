"""Whoever may ask at all may give root's orders too."""

from davide_hub.broker import verbs

verbs.ROOTS_OWN = ()
