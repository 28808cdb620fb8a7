"""The checks of the lessons: one module a lesson. A check says "not yet" with a hint; it never stops a notebook."""
