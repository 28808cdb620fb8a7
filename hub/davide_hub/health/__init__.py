"""What an administrator is told of a site: before the plays touch it (preflight), and at any time later (doctor).

`look` gathers and knows no right or wrong; it runs on any host that has Python 3.6. `plan` says what each host is to
look at. `judge` and its parts are pure: from what was gathered to sentences. Only `doctor` does anything; for the
preflight, Ansible does.
"""
