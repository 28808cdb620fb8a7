"""A PostgreSQL of our own on the loopback address, which speaks to nobody without TLS and a password."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from davide_hub.certificates import prepare_trial
from support.real_hub import free_ports

# With what libpq's file of passwords gives a meaning.
PASSWORD = r"made:up\password"
_ADMINS = "made-up-of-the-admin"
_SETTINGS = """
listen_addresses = 'localhost'
port = {port}
unix_socket_directories = '{folder}'
ssl = on
ssl_cert_file = '{folder}/site.crt'
ssl_key_file = '{folder}/site.key'
"""


class Postgresql:
    """A PostgreSQL.

    Attributes
    ----------
    port
        Where it listens, on localhost.
    authority
        The file with the certificate that vouches for it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._data = folder, folder / "data"
        self._programs = max(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
        (self.port,) = free_ports(1)
        self.authority = folder / "authority.crt"

    def make(self) -> None:
        """Make it, with a database of the hub's."""
        prepare_trial(self._folder / "site.crt", self._folder / "site.key", "localhost")
        (self._folder / "password").write_text(_ADMINS)
        for path in (self._folder, *self._folder.iterdir()):
            shutil.chown(path, "postgres", "postgres")
        self._folder.chmod(0o755)
        self._run("initdb", "--auth=scram-sha-256", f"--pwfile={self._folder}/password", f"--pgdata={self._data}")
        settings = self._data / "postgresql.conf"
        settings.write_text(settings.read_text() + _SETTINGS.format(port=self.port, folder=self._folder))
        (self._data / "pg_hba.conf").write_text("hostssl all all 127.0.0.1/32 scram-sha-256\n")
        self.start()
        self.ask(f"CREATE ROLE hub LOGIN PASSWORD '{PASSWORD}'", "postgres")
        self.ask("CREATE DATABASE davide_hub OWNER hub", "postgres")

    def start(self) -> None:
        """Start it, and wait until it answers."""
        self._run("pg_ctl", "--wait", "start", f"--log={self._folder}/log", f"--pgdata={self._data}")

    def stop(self) -> None:
        """Stop it at once, as a host that loses its power would."""
        self._run("pg_ctl", "--wait", "stop", "--mode=immediate", f"--pgdata={self._data}")

    def ask(self, words: str, database: str = "davide_hub") -> str:
        """Return its answer to some SQL."""
        address = f"host=localhost port={self.port} dbname={database} user=postgres password={_ADMINS}"
        return self._run("psql", "--no-psqlrc", "--tuples-only", "--no-align", f"--command={words}", address)

    def _run(self, program: str, *arguments: str) -> str:
        command = ["runuser", "-u", "postgres", "--", str(self._programs / program), *arguments]
        # No pipe for what goes on in the background: it would keep it open.
        with tempfile.TemporaryFile("w+") as said:
            done = subprocess.run(command, cwd="/", stdout=said, stderr=said, stdin=subprocess.DEVNULL, check=False)
            said.seek(0)
            answer = said.read().strip()
        assert done.returncode == 0, answer
        return answer


@contextmanager
def postgresql() -> Iterator[Postgresql]:
    """Yield a PostgreSQL; remove it afterwards."""
    with tempfile.TemporaryDirectory(prefix="davide-postgresql-") as folder:
        made = Postgresql(Path(folder))
        made.make()
        try:
            yield made
        finally:
            made.stop()
