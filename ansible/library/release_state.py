#!/usr/bin/python
"""Ansible module: what a release consists of on a host is kept, and put back as it was."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = """
module: release_state
short_description: Keep what a release consists of on a host, or put back what was kept
description:
  - Kept are links (where they lead), and files and folders (content, mode, owner). What is not there is kept as that,
    and removed when the rest is put back.
  - Put back is only what differs, each file and link by a rename, so that running_service sees what changed.
options:
  do:
    description:
      - C(look) tells the names of what is kept, the latest first, and which is open - whose deploy has not ended well.
      - C(keep) keeps what there is as C(name), unless that is kept already.
      - C(close) notes that what came after C(name) is well.
      - C(check) refuses, in a sentence, where C(name) can't be put back.
      - C(restore) puts C(name) back.
      - C(database) puts the latest copy of the database with the schema of C(name) into its place; stop the hub first.
      - C(forget) removes what was kept as C(name).
    choices: [look, keep, close, check, restore, database, forget]
    required: true
    type: str
  name:
    description: What it is called.
    type: str
    default: ""
  paths:
    description: Links, files and folders.
    type: list
    elements: path
    default: []
  database:
    description: The hub's database, whose schema is noted too.
    type: path
  folder:
    description: Where it is kept.
    type: path
    default: /var/lib/davide-releases
"""

EXAMPLES = """
- name: Keep the release that there is
  release_state:
    do: keep
    name: "20260302T101500"
    paths: [/opt/davide/envs/hub, /etc/davide-hub/site.yml]
"""

RETURN = """
kept:
  description: Names, the latest first.
  type: list
  returned: always
open:
  description: The one whose deploy has not ended well, or nothing.
  type: str
  returned: always
note:
  description: What is noted of C(name), such as the schema of the database then.
  type: dict
  returned: always
schema:
  description: The schema of the database now, or nothing.
  type: str
  returned: always
"""

_MOST = 5


class Refused(Exception):  # noqa: N818 - a sentence for the one who deploys
    """It can't be done; its text is the sentence."""


def look(folder: Path) -> tuple[list[str], str]:
    """Return the names of what is kept, the latest first, and the one that is open."""
    kept = sorted((path.parent.name for path in folder.glob("*/note.json")), reverse=True)
    opened = [name for name in kept if note_of(folder / name)["open"]]
    return kept, opened[0] if opened else ""


def note_of(place: Path) -> dict:
    """Return what is noted of something kept."""
    return json.loads((place / "note.json").read_text())


def write_note(place: Path, note: dict) -> None:
    """Note something, whole or not at all."""
    beside = place / ".note.json"
    with beside.open("w") as file:
        json.dump(note, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    beside.rename(place / "note.json")


def keep(folder: Path, name: str, paths: list[str], database: str | None) -> list[str]:
    """Keep what there is, if that is not kept yet; the note comes last, so that what has none is not whole."""
    place = folder / name
    if name in look(folder)[0]:
        return []
    shutil.rmtree(place, ignore_errors=True)
    (place / "files").mkdir(mode=0o700, parents=True)
    folder.chmod(0o700)
    entries = {str(path): entry_of(path) for given in map(Path, paths) for path in [given, *below(given)]}
    for path, entry in entries.items():
        if entry["kind"] == "file":
            entry["content"] = f"files/{len(list((place / 'files').iterdir()))}"
            shutil.copyfile(path, place / entry["content"])
    write_note(place, {"open": True, "schema": schema_of(database), "paths": paths, "entries": entries})
    for old in look(folder)[0][_MOST:]:
        shutil.rmtree(folder / old)
    return [str(place)]


def below(path: Path) -> list[Path]:
    """Return all that lies in a folder; nothing for what is none, or is a link to one."""
    return sorted(path.rglob("*")) if path.is_dir() and not path.is_symlink() else []


def entry_of(path: Path) -> dict:
    """Return what a path is: absent, a link, a folder or a file, and whose."""
    if path.is_symlink():
        return {"kind": "link", "to": str(path.readlink())}
    if not path.exists():
        return {"kind": "absent"}
    about = path.stat()
    kind = "folder" if path.is_dir() else "file"
    return {"kind": kind, "mode": about.st_mode & 0o7777, "owner": [about.st_uid, about.st_gid]}


def schema_of(database: str | None) -> str:
    """Return the revision of the database's schema, or nothing where there is no database yet."""
    if not database or not Path(database).exists():
        return ""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    return str(row[0]) if row else ""


def put_database(folder: Path, name: str, database: Path) -> None:
    """Put the latest copy of the database with the schema that was kept into its place."""
    schema = note_of(folder / name)["schema"]
    copies = sorted((folder / "databases").glob(f"{database.name}.{schema}.*"))
    if not copies:
        raise Refused(f"{folder}/databases holds no {database.name} with schema {schema}")
    before = database.stat()
    beside = database.with_name(f"{database.name}.new")
    shutil.copyfile(copies[-1], beside)
    os.chown(beside, before.st_uid, before.st_gid)
    beside.chmod(before.st_mode & 0o777)
    for log in ("-wal", "-shm"):
        remove(database.with_name(database.name + log))
    beside.rename(database)


def check(folder: Path, name: str) -> None:
    """Refuse what can't be put back."""
    place = folder / name
    if not (place / "note.json").exists():
        raise Refused(f"{place} is not kept on this host; look at what is: ls {folder}")
    entries = note_of(place)["entries"]
    links = {path: entry for path, entry in entries.items() if entry["kind"] == "link"}
    if not links:
        raise Refused("there was no release on this host before this one, so there is none to go back to")
    for path, entry in links.items():
        if not (Path(path).parent / entry["to"]).exists():
            raise Refused(f"{path} led to {entry['to']}, which is gone; deploy that release again from its checkout")


def restore(folder: Path, name: str) -> list[str]:
    """Put back what is other than it was; return the paths."""
    place = folder / name
    note = note_of(place)
    entries = {Path(path): entry for path, entry in note["entries"].items()}
    surplus = [path for given in map(Path, note["paths"]) for path in below(given) if path not in entries]
    changed = []
    for path in sorted(surplus, reverse=True):
        remove(path)
        changed.append(str(path))
    for path, entry in entries.items():
        if not is_so(path, entry, place):
            put(path, entry, place)
            changed.append(str(path))
    return changed


def is_so(path: Path, entry: dict, place: Path) -> bool:
    """Say whether a path is what it was."""
    told = {key: value for key, value in entry.items() if key != "content"}
    if entry_of(path) != told:
        return False
    return entry["kind"] != "file" or path.read_bytes() == (place / entry["content"]).read_bytes()


def put(path: Path, entry: dict, place: Path) -> None:
    """Make a path what it was."""
    if entry["kind"] == "absent":
        remove(path)
        return
    if entry["kind"] == "folder":
        if path.is_symlink() or path.is_file():
            remove(path)
        path.mkdir(exist_ok=True)
        os.chown(path, *entry["owner"])
        path.chmod(entry["mode"])
        return
    if path.is_dir() and not path.is_symlink():
        remove(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.davide")
    beside.unlink(missing_ok=True)
    if entry["kind"] == "link":
        beside.symlink_to(entry["to"])
    else:
        shutil.copyfile(place / entry["content"], beside)
        os.chown(beside, *entry["owner"])
        beside.chmod(entry["mode"])
    beside.rename(path)


def remove(path: Path) -> None:
    """Remove a file, a link or a folder with all in it."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    elif path.is_symlink() or path.exists():
        path.unlink()


def _close(folder: Path, wanted: dict) -> list[str]:
    place = folder / wanted["name"]
    write_note(place, {**note_of(place), "open": False})
    return []


def _check(folder: Path, wanted: dict) -> list[str]:
    check(folder, wanted["name"])
    return []


def _put_database(folder: Path, wanted: dict) -> list[str]:
    put_database(folder, wanted["name"], Path(wanted["database"]))
    return [wanted["database"]]


def _forget(folder: Path, wanted: dict) -> list[str]:
    shutil.rmtree(folder / wanted["name"])
    return []


DO = {
    "look": lambda _folder, _wanted: [],
    "keep": lambda folder, wanted: keep(folder, wanted["name"], wanted["paths"], wanted["database"]),
    "close": _close,
    "check": _check,
    "restore": lambda folder, wanted: restore(folder, wanted["name"]),
    "database": _put_database,
    "forget": _forget,
}


def main() -> None:
    """Do what is asked."""
    module = AnsibleModule(
        argument_spec={
            "do": {"type": "str", "required": True, "choices": list(DO)},
            "name": {"type": "str", "default": ""},
            "paths": {"type": "list", "elements": "path", "default": []},
            "database": {"type": "path"},
            "folder": {"type": "path", "default": "/var/lib/davide-releases"},
        }
    )
    wanted, folder = module.params, Path(module.params["folder"])
    try:
        changed = DO[wanted["do"]](folder, wanted)
    except (Refused, OSError) as error:
        module.fail_json(msg=str(error))
    kept, opened = look(folder)
    note = note_of(folder / wanted["name"]) if wanted["name"] in kept else {}
    note.pop("entries", None)
    schema = schema_of(wanted["database"])
    module.exit_json(changed=bool(changed), paths=changed, kept=kept, open=opened, note=note, schema=schema)


if __name__ == "__main__":
    main()
