"""The directory of accounts: none, and no answer, by the C library's and the modules' own words."""

from __future__ import annotations

import ctypes
import errno
import socket
from types import SimpleNamespace

import pytest
from davide_hub.broker import directory


def test_the_c_library_tells_none_from_silence(monkeypatch):
    assert directory.gid_of_user("root") == 0
    assert directory.gid_of_user("nobody-of-that-name") is None
    assert directory.gid_of_group("nobody-of-that-name") is None

    class Call:
        restype = None

        def __call__(self, *_arguments):
            return 111  # ECONNREFUSED, as from a directory service that is not running

    monkeypatch.setattr(directory.ctypes, "CDLL", lambda *_, **__: SimpleNamespace(getpwnam_r=Call()))
    with pytest.raises(directory.Silent, match="Connection refused"):
        directory.gid_of_user("root")


@pytest.mark.parametrize(
    ("password", "expires", "how"),
    [
        (b"$6$salt$hash", -1, ""),
        (b"$6$salt$hash", 99999, ""),
        (b"$6$salt$hash", 1, "expired"),
        (b"!$6$salt$hash", -1, "locked"),
        (b"!", -1, ""),
        (b"!!", -1, ""),
        (b"!*", -1, ""),
        (b"*", -1, ""),
        (None, -1, ""),
    ],
)
def test_a_shadow_entry_says_whether_an_account_was_closed(monkeypatch, password, expires, how):
    monkeypatch.setattr(directory, "_ask", lambda *_: SimpleNamespace(password=password, expires=expires))
    assert directory.closed("ann") == how
    monkeypatch.setattr(directory, "_ask", lambda *_: None)
    assert directory.closed("ann") == ""


@pytest.fixture
def module(monkeypatch):
    """Return the module of the one service that nsswitch.conf lists; it has no functions yet."""
    load, module = directory.ctypes.CDLL, SimpleNamespace()
    monkeypatch.setattr(directory.ctypes, "CDLL", lambda name, **more: load(name, **more) if name is None else module)
    monkeypatch.setattr(directory, "_services", lambda *_: ["made_up"])
    return module


class Says:
    """A function of a module that only returns its status; with less room than it needs, that there is too little."""

    def __init__(self, status: int, room: int = 0) -> None:
        self.status, self.room = status, room

    def __call__(self, _name, _entry, _buffer, room, problem):
        if room.value >= self.room:
            return self.status
        ctypes.cast(problem, ctypes.POINTER(ctypes.c_int))[0] = errno.ERANGE
        return -2


@pytest.mark.parametrize(("status", "silent"), [(1, True), (0, False), (-1, True), (-2, True)])
@pytest.mark.parametrize(
    ("function", "number_of"),
    [("_nss_made_up_getpwnam_r", directory.gid_of_user), ("_nss_made_up_getgrnam_r", directory.gid_of_group)],
)
def test_one_service_that_is_out_of_reach_makes_an_absence_unknown(module, function, number_of, status, silent):
    setattr(module, function, Says(status))
    if silent:
        with pytest.raises(directory.Silent):
            number_of("nobody-of-that-name")
    else:
        assert number_of("nobody-of-that-name") is None
    assert number_of("root") == 0


def initgroups(status, more, heard):
    """Return an initgroups_dyn as C knows it, which adds groups and makes room for them."""
    number, long, numbers = ctypes.c_uint, ctypes.c_long, ctypes.POINTER(ctypes.c_uint)
    longs, arrays, problem = ctypes.POINTER(long), ctypes.POINTER(numbers), ctypes.POINTER(ctypes.c_int)
    libc = ctypes.CDLL(None)
    libc.realloc.restype = ctypes.c_void_p

    def call(name, first, start, size, groups, limit, _problem):
        heard.append((name, first, groups[0][0], start[0], limit))
        if len(more) > size[0] - start[0]:
            size[0] += len(more)
            groups[0] = ctypes.cast(libc.realloc(groups[0], ctypes.c_size_t(4 * size[0])), numbers)
        for one in more:
            groups[0][start[0]] = one
            start[0] += 1
        return status

    return ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_char_p, number, longs, longs, arrays, long, problem)(call)


@pytest.mark.parametrize(("status", "silent"), [(1, False), (0, False), (-1, True), (-2, True)])
def test_one_service_that_does_not_tell_memberships_makes_them_unknown(module, status, silent):
    heard = []
    module._nss_made_up_initgroups_dyn = initgroups(status, range(5000, 5100) if status == 1 else (), heard)
    if silent:
        with pytest.raises(directory.Silent, match="made_up says -"):
            directory.belongs("root", 7, "davide", 424242)
    else:
        assert not directory.belongs("root", 7, "davide", 424242)
    assert directory.belongs("root", 7, "root", 7)  # the first group, for which nobody need be asked
    assert heard == [(b"root", 7, 7, 1, -1)]


@pytest.mark.parametrize(
    ("call", "silent"), [(Says(1), False), (Says(0), False), (Says(-1), True), (Says(1, room=1_000_000), False)]
)
def test_a_module_that_lists_its_groups_must_know_the_one_that_counts(module, call, silent):
    module._nss_made_up_getgrnam_r = call
    if silent:
        with pytest.raises(directory.Silent):
            directory.belongs("root", 0, "davide", 424242)
    else:
        assert not directory.belongs("root", 0, "davide", 424242)


@pytest.mark.parametrize("sssd", ["running", "stopped", "never set up"])
def test_none_is_not_believed_of_an_sssd_that_is_down(module, tmp_path, monkeypatch, sssd):
    module._nss_sss_getpwnam_r = module._nss_sss_getgrnam_r = module._nss_sss_initgroups_dyn = lambda *_: 0
    monkeypatch.setattr(directory, "_services", lambda *_: ["sss"])
    monkeypatch.setattr(directory, "SSSD", tmp_path / "nss")
    with socket.socket(socket.AF_UNIX) as listening:
        if sssd != "never set up":
            listening.bind(str(directory.SSSD))
        if sssd == "running":
            listening.listen()
        for ask in (
            lambda: directory.gid_of_user("nobody-of-that-name"),
            lambda: directory.gid_of_group("nobody-of-that-name"),
            lambda: directory.belongs("root", 0, "davide", 424242),
        ):
            if sssd == "stopped":
                with pytest.raises(directory.Silent, match="does not listen"):
                    ask()
            else:
                assert not ask()


def test_a_module_of_the_c_library_answers_for_memberships(tmp_path, monkeypatch):
    file = tmp_path / "nsswitch.conf"
    file.write_text("group: files compat not_installed\n")
    monkeypatch.setattr(directory, "NSSWITCH", file)
    assert not directory.belongs("root", 0, "davide", 424242)


@pytest.mark.parametrize(
    ("lines", "services"), [(["passwd"], ["sss"]), (["group"], ["x"]), (["initgroups", "group"], ["y"]), (["none"], [])]
)
def test_the_services_are_those_that_can_hold_peoples_accounts(tmp_path, monkeypatch, lines, services):
    file = tmp_path / "nsswitch.conf"
    text = "# passwd: none\npasswd:  files [NOTFOUND=continue] sss systemd # a comment\ngroup: x\ninitgroups: files y\n"
    file.write_text(text)
    monkeypatch.setattr(directory, "NSSWITCH", file)
    assert directory._services(*lines) == services
    file.write_text(text.replace("initgroups", "#"))
    assert directory._services("initgroups", "group") == ["x"]
