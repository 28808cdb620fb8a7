"""Hand-outs on the cluster: the session's own command, as a student, on real file systems."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from places import STUDENT, OnCluster


@pytest.fixture(scope="module")
def cluster() -> Iterator[OnCluster]:
    """Return the local cluster with a folder of the student's."""
    found = OnCluster(f"/home/{STUDENT}/handout-tests")
    yield found
    found.shell(f"rm -rf {found.folder}")


def test_a_student_gets_the_lessons_for_less_than_a_second_of_work(cluster: OnCluster) -> None:
    said = cluster.as_student(f"{{ time -p {cluster.sync} {cluster.folder}/course; }} 2>&1")
    # The time by the clock would be that of whatever else runs here.
    work = dict(line.split() for line in said.splitlines()[-3:])
    assert float(work["user"]) + float(work["sys"]) < 1
    handed_out = cluster.shell(f"cd {cluster.software}/handouts && sha256sum *.ipynb")
    assert cluster.shell(f"cd {cluster.folder}/course && sha256sum *.ipynb") == handed_out
    assert cluster.shell(f"stat -c %U {cluster.folder}/course/*.ipynb").split() == [STUDENT] * handed_out.count("\n")


def test_a_lesson_that_the_student_edited_is_kept(cluster: OnCluster) -> None:
    course = f"{cluster.folder}/edited"
    lesson = f"{course}/01_undercomplete_autoencoder.ipynb"
    cluster.as_student(f"{cluster.sync} {course} && echo mine > {lesson} && {cluster.sync} {course}")
    assert cluster.shell(f"cat {lesson}") == "mine\n"


def test_a_full_home_does_not_keep_a_session_from_starting(cluster: OnCluster) -> None:
    home = f"{cluster.folder}/full"
    cluster.shell(f"mkdir {home} && mount -t tmpfs -o size=32k,uid={STUDENT} tmpfs {home}")
    try:
        cluster.as_student(f"echo mine > {home}/mine.txt; head -c 100k /dev/zero > {home}/filler 2>/dev/null; true")
        said = cluster.as_student(f"{cluster.sync} {home}/course")
        assert said.startswith("Your home is full, so the lessons in ") and said.count("\n") == 1
        assert cluster.shell(f"cat {home}/mine.txt") == "mine\n"
        assert cluster.shell(f"find {home}/course -name '*.tmp' -o -name '*.ipynb'") == ""
        cluster.shell(f"rm {home}/filler && mount -o remount,size=1M {home}")
        assert cluster.as_student(f"{cluster.sync} {home}/course") == ""
        assert "01_undercomplete_autoencoder.ipynb" in cluster.shell(f"ls {home}/course")
    finally:
        cluster.shell(f"umount {home}")
