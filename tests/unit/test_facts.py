"""A good site.yml is accepted; a bad one is refused with file, line, key, problem and fix, never with a traceback."""

from pathlib import Path

import pytest
from davide_hub.facts import FactsError, Site, load_site

LOCAL = Path(__file__).parents[2] / "ansible/inventory/local/group_vars/all/site.yml"


@pytest.fixture
def changed(tmp_path):
    """Return a function that writes the local site.yml with one passage replaced."""

    def write(old: str, new: str) -> Path:
        text = LOCAL.read_text()
        assert text.count(old) == 1, f"{old!r} must stand once in {LOCAL}"
        path = tmp_path / "site.yml"
        path.write_text(text.replace(old, new))
        return path

    return write


def refusal(path: Path) -> str:
    with pytest.raises(FactsError) as caught:
        load_site(path)
    return str(caught.value)


def test_the_local_site_is_good():
    site = load_site(LOCAL)
    assert [profile.name for profile in site.profiles] == ["one-gpu", "four-gpus", "no-gpu"]
    assert site.slurm.partitions[0].gpu_type == "tesla"


def test_a_broker_on_another_host_is_a_fact_of_the_site(changed):
    assert load_site(LOCAL).broker is None
    site = load_site(changed("  paths:\n", "  broker: {host: ctl01, address: 192.0.2.1, port: 8443}\n  paths:\n"))
    assert (site.broker.host, site.broker.address, site.broker.port) == ("ctl01", "192.0.2.1", 8443)


def test_many_nodes_stand_in_one_entry(changed):
    site = load_site(changed("nodes: [gpu01, gpu02]", "nodes: ['gpu[01-03,10]', login1]"))
    assert site.slurm.partitions[0].node_names == ["gpu01", "gpu02", "gpu03", "gpu10", "login1"]


def test_facts_cannot_be_changed_after_loading():
    site = load_site(LOCAL)
    with pytest.raises(ValueError, match="frozen"):
        site.name = "another"
    assert isinstance(hash(site), int)


def test_a_memory_of_lots_is_refused_with_the_whole_sentence(changed):
    path = changed("memory_gb: 6\n", "memory_gb: lots\n")
    expected = "site.profiles[0].memory_gb: 'lots' is not a whole number of gigabytes; write for example 6"
    line = path.read_text().splitlines().index("      memory_gb: lots") + 1
    assert refusal(path) == f"{path}:{line}: {expected}"


# What stands in the local site.yml, what somebody made of it, and the refusal (without file and line).
ONE_GPU = "    - name: one-gpu\n"
TITLE = "title: One GPU\n"
NODES = "      - 10.77.0.21\n      - 10.77.0.22\n"
BAD = {
    "an unknown key": (
        "  group: davide #",
        "  grup: davide #",
        ["site.grup: unknown key; did you mean group?", "site.group: missing; add the name of a Unix user or group"],
    ),
    "an unknown key like no other": (
        "  hub:\n",
        "  hub:\n    zzz: 1\n",
        ["site.hub.zzz: unknown key; remove it; known here: host, address, port, proxy_port"],
    ),
    "a missing field": (
        "    software: /software/davide #",
        "    #",
        ["site.paths: nothing is not a mapping with the keys software"],
    ),
    "a missing number": (
        "      cores: 4\n",
        "",
        ["site.profiles[0].cores: missing; add a whole number of CPU cores, for example cores: 4"],
    ),
    "a partition that is not there": (
        ONE_GPU,
        f"{ONE_GPU}      partition: gone\n      title: X\n      description: X\n      gpus: 0\n      cores: 1\n"
        "      memory_gb: 1\n      hours: 1\n    - name: second\n",
        ["site.profiles[0].partition: 'gone' is not in site.slurm.partitions; write one of dvd_usr_prod"],
    ),
    "more GPUs than a node has": (
        "      gpus: 1\n",
        "      gpus: 8\n",
        ["site.profiles[0].gpus: 8 is more than the 4 GPUs of a node in partition dvd_usr_prod; write at most 4"],
    ),
    "more cores than a node has": (
        "      cores: 4\n",
        "      cores: 17\n",
        ["site.profiles[0].cores: 17 is more than the 16 cores of a node"],
    ),
    "more memory than a node has": (
        "      memory_gb: 6\n",
        "      memory_gb: 25\n",
        ["site.profiles[0].memory_gb: 25 is more than the 24 gigabytes of a node"],
    ),
    "more hours than allowed": (
        "      hours: 4\n",
        "      hours: 9\n",
        ["site.profiles[2].hours: 9 is more than the 8 hours allowed"],
    ),
    "a fraction of a core": (
        "      cores: 4\n",
        "      cores: 1.5\n",
        ["site.profiles[0].cores: 1.5 is not a whole number of CPU cores; write for example 4"],
    ),
    "yes for a number": (
        "      cores: 4\n",
        "      cores: yes\n",
        ["site.profiles[0].cores: yes is not a whole number of CPU cores"],
    ),
    "a number in quotes": (
        "      cores: 4\n",
        "      cores: '4'\n",
        ["site.profiles[0].cores: '4' is not a whole number of CPU cores"],
    ),
    "a negative number": (
        "      hours: 4\n",
        "      hours: -4\n",
        ["site.profiles[2].hours: -4 is not a whole number of hours"],
    ),
    "a huge number": (
        "      hours: 4\n",
        "      hours: 99999999999999999999999\n",
        ["is not a whole number of hours; write for example 2"],
    ),
    "a profile twice": (
        "    - name: no-gpu\n",
        ONE_GPU,
        ["site.profiles[2].name: 'one-gpu' stands here for the second time; remove it or give it a name of its own"],
    ),
    "a kernel twice": (
        "  kernels: [tf-cpu]\n",
        "  kernels: [tf-cpu, tf-cpu]\n",
        ["site.kernels[1]: 'tf-cpu' stands here for the second time"],
    ),
    "a node twice": (
        "[gpu01, gpu02]",
        "[gpu01, gpu01]",
        ["site.slurm.partitions[0].nodes[1]: 'gpu01' stands here for the second time"],
    ),
    "a node twice, once in a range": (
        "[gpu01, gpu02]",
        "[gpu02, 'gpu[01-04]']",
        ["site.slurm.partitions[0].nodes[1]: 'gpu02' stands here for the second time"],
    ),
    "a range that runs backwards": (
        "[gpu01, gpu02]",
        "['gpu[04-01]']",
        ["site.slurm.partitions[0].nodes[0]: 'gpu[04-01]' stands for no nodes; correct the range, as in gpu[01-45]"],
    ),
    "a range of far too many": (
        "[gpu01, gpu02]",
        "['gpu[1-999999]']",
        ["'gpu[1-999999]' stands for more than 50000 nodes; correct the range"],
    ),
    "a range that makes no host's name": (
        "[gpu01, gpu02]",
        "['-gpu[1-2]']",
        ["site.slurm.partitions[0].nodes[0]: '-gpu1' is not a host's name; write for example gpu01 or gpu[01-45]"],
    ),
    "a range that Slurm would not read": (
        "[gpu01, gpu02]",
        "['gpu[1-2']",
        ["'gpu[1-2' is not a node's name, in small letters, or several as Slurm writes them, gpu[01-45]"],
    ),
    "a default kernel that is not there": (
        "default_kernel: tf-cpu",
        "default_kernel: tf-gpu",
        ["site.session.default_kernel: 'tf-gpu' is not in site.kernels; write one of tf-cpu"],
    ),
    "a node's name with what stands for a dot": (
        "nodes: [gpu01, gpu02]",
        "nodes: [gpu01, gpu--02]",
        ["site.slurm.partitions[0].nodes[1]: 'gpu--02' has '--' in it; give the node a name without"],
    ),
    "a host's address with a mask": (
        NODES,
        "      - 10.77.0.21/24\n",
        ["site.slurm.node_addresses[0]: '10.77.0.21/24' is a host in a network; write 10.77.0.0/24 or 10.77.0.21"],
    ),
    "an address in a network that stands there": (
        NODES,
        "      - 10.77.0.0/24\n      - 'fd00::/64'\n      - 10.77.0.22\n",
        ["site.slurm.node_addresses[2]: '10.77.0.22' and '10.77.0.0/24' have addresses in common; keep the larger"],
    ),
    "everybody's network": (
        NODES,
        "      - 0.0.0.0/0\n",
        ["site.slurm.node_addresses[0]: '0.0.0.0/0' is everybody; write the networks of the compute nodes"],
    ),
    "an address out of range": (
        NODES,
        "      - 10.77.0.321\n",
        ["site.slurm.node_addresses[0]: '10.77.0.321' is not an address or a network; write for example 10.77.0.0/24"],
    ),
    "a rule for an address": (
        NODES,
        "      - '10.77.0.21 accept'\n",
        ["site.slurm.node_addresses[0]: '10.77.0.21 accept' is not an address or a network; write for example 10.77"],
    ),
    "a port twice": ("api_port: 8081", "api_port: 8000", ["site.hub.api_port: 8000 is site.hub.port already"]),
    "a broker far away on the hub's host": (
        "  paths:\n",
        "  broker: {host: hub01, address: 192.0.2.1, port: 8443}\n  paths:\n",
        ["site.broker.host: 'hub01' is site.hub.host, where the broker has a socket; remove site.broker"],
    ),
    "a port that the broker may not bind": (
        "  paths:\n",
        "  broker: {host: ctl01, address: 192.0.2.1, port: 443}\n  paths:\n",
        ["site.broker.port: 443 is not a port number from 1024 to 65535; write for example 8443"],
    ),
    "a broker without an address": (
        "  paths:\n",
        "  broker: {host: ctl01, port: 8443}\n  paths:\n",
        ["site.broker.address: missing; add the broker's own address, as the hub reaches it"],
    ),
    "a port out of range": (
        "  port: 8000\n",
        "  port: 80000\n",
        ["site.hub.port: 80000 is not the port that browsers reach"],
    ),
    "a name with shell characters": (
        ONE_GPU,
        "    - name: 'x; rm -rf ~'\n",
        ["site.profiles[0].name: 'x; rm -rf ~' is not a name of at most 32 small letters, digits and dashes"],
    ),
    "an account with a line break": (
        "account: tra26_davide #",
        'account: "a\\n#SBATCH --uid=0" #',
        [r"site.slurm.account: 'a\n#SBATCH --uid=0' is not a name"],
    ),
    "a trailing line break in a name": (ONE_GPU, '    - name: "one-gpu\\n"\n', ["site.profiles[0].name: "]),
    "an account with a leading dash": (
        "account: tra26_davide #",
        "account: --uid=0 #",
        ["site.slurm.account: '--uid=0' is not a name of at most 64 letters"],
    ),
    "a path that climbs": (
        "software: /software/davide #",
        "software: /software/../etc #",
        ["site.paths.software: '/software/../etc' is not an absolute path"],
    ),
    "a folder with a slash": (
        "folder: davide-course #",
        "folder: ../x #",
        ["site.course.folder: '../x' is not the name of one folder, without '/'"],
    ),
    "an address with a path": (
        "https://davide.localhost:8000 #",
        "https://davide.localhost:8000/hub #",
        ["site.public_url: 'https://davide.localhost:8000/hub' is not an address of https://"],
    ),
    "an address without TLS": (
        "https://davide.localhost:8000 #",
        "http://davide.localhost:8000 #",
        ["site.public_url: 'http://davide.localhost:8000' is not an address of https://"],
    ),
    "a number before which no user's name can stand": (
        "https://davide.localhost:8000 #",
        "https://192.0.2.7 #",
        ["site.public_url: 'https://192.0.2.7' is a number", "write a host name, or site.origins: shared"],
    ),
    "one admin without a list": (
        "admins: [admin01]",
        "admins: admin01",
        ["site.admins: 'admin01' is not a list; write for example a line that begins with '- '"],
    ),
    "no admin": ("admins: [admin01]", "admins: []", ["site.admins: an empty list; write at least one entry"]),
    "a number for a title": (TITLE, "title: 1\n", ["site.profiles[0].title: 1 is not a line of text"]),
    "a date for a title": (TITLE, "title: 2026-11-23\n", ["site.profiles[0].title: 2026-11-23 is not a line"]),
    "a date that does not exist": (TITLE, "title: 2026-13-45\n", ["a value can't be read", "put it in quotes"]),
    "a title with a terminal's escape": (TITLE, 'title: "\\e[2J"\n', [r"site.profiles[0].title: '\x1b[2J' is not"]),
    "an empty title": (TITLE, "title: ''\n", ["site.profiles[0].title: '' is not a line of text"]),
    "Jinja": (
        TITLE,
        "title: \"{{ lookup('pipe', 'id') }}\"\n",
        ["site.profiles[0].title: Jinja is not allowed in the site facts; write the value itself"],
    ),
    "a key twice": (
        "      cores: 4\n",
        "      cores: 4\n      cores: 5\n",
        ["not plain YAML: the key 'cores' stands here twice"],
    ),
    "a tab": ("      cores: 4\n", "\tcores: 4\n", ["not plain YAML", "indent with spaces, never with tabs"]),
    "a tag": (TITLE, "title: !vault x\n", ["tags such as !vault or !!set are not allowed here"]),
    "a Python object": (TITLE, "title: !!python/object/apply:os.system [id]\n", ["tags such as !vault"]),
    "an alias": (TITLE, "title: &t One GPU\n", ["anchors and aliases are not allowed here"]),
}


@pytest.mark.parametrize(("old", "new", "sentences"), BAD.values(), ids=BAD.keys())
def test_a_bad_site_is_refused_with_its_key_and_the_fix(changed, old, new, sentences):
    path = changed(old, new)
    text = refusal(path)
    assert all(line.startswith(f"{path}:") for line in text.splitlines())
    for sentence in sentences:
        assert sentence in text


WHOLE_FILES = {
    "nothing": (b"", "the file is empty"),
    "only a comment": (b"# site:\n", "the file is empty"),
    "a word": (b"hello\n", "the file: 'hello' is not a mapping with the keys site"),
    "a list": (b"- site\n", "the file: a list is not a mapping with the keys site"),
    "facts without `site:` on top": (b"name: x\n", "site: missing; add a mapping with the keys name, public_url"),
    "not YAML": (b"site: [1, 2\n", "not plain YAML"),
    "two documents": (b"site: {}\n---\nsite: {}\n", "not plain YAML"),
    "not text": (b"\x7fELF\x02\xff\xfe", "byte 5 is not UTF-8; save the file as UTF-8 text"),
    "control characters": (b"site: \x00\n", "not plain YAML"),
    "a list as a key": (b"? [a]\n: b\n", "a key must be a word, not a number"),
    "a number as a key": (b"site: {}\n1: 2\n", "a key must be a word, not a number"),
    "very deep": (b"[" * 10_000, "nested more than 20 levels deep"),
    "very large": (b"# " + b"x" * 300_000, "the file has more than 256 kB"),
    "a number of ten thousand digits": (b"site: " + b"9" * 10_000, "put it in quotes"),
    "a few lines that expand to gigabytes": (
        b"a: &a [x,x,x,x,x,x,x,x,x]\n"
        + b"".join(
            b"%c: &%c [%s]\n" % (new, new, b",".join([b"*%c" % old] * 9))
            for old, new in zip(b"abcdefgh", b"bcdefghi", strict=True)
        ),
        "anchors and aliases are not allowed here",
    ),
}


@pytest.mark.parametrize(("content", "sentence"), WHOLE_FILES.values(), ids=WHOLE_FILES.keys())
def test_what_is_no_site_at_all_is_refused(tmp_path, content, sentence):
    path = tmp_path / "site.yml"
    path.write_bytes(content)
    text = refusal(path)
    assert text.startswith(f"{path}")
    assert sentence in text


def test_a_missing_file_is_named(tmp_path):
    path = tmp_path / "gone.yml"
    assert refusal(path) == f"{path}: can't be read (No such file or directory); give the path of a site.yml"


def test_a_folder_is_no_file(tmp_path):
    assert "can't be read (Is a directory)" in refusal(tmp_path)


def test_an_unreadable_file_is_named(monkeypatch):
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)  # for root, nothing is unreadable
    assert refusal(LOCAL) == f"{LOCAL}: can't be read (Permission denied); give the path of a site.yml"


def test_a_nul_byte_in_the_name_is_refused():
    assert r"a\x00b: not the name of a file" in refusal(Path("a\0b"))


def test_all_problems_are_told_at_once(tmp_path):
    path = tmp_path / "site.yml"
    path.write_text(LOCAL.read_text().replace("cores: 4\n", "cores: x\n").replace("hours: 2\n", "hours: x\n"))
    assert len(refusal(path).splitlines()) == 3


def test_a_long_value_is_shown_short(changed):
    assert len(refusal(changed(TITLE, f"title: {'x' * 5000}\n"))) < 400


def test_the_same_file_gives_the_same_facts_through_ansible(tmp_path):
    """Ansible reads the file, and writes it again for the hub."""
    import yaml

    path = tmp_path / "site.yml"
    path.write_text(yaml.safe_dump(yaml.safe_load(LOCAL.read_text()), sort_keys=True))
    site: Site = load_site(path)
    assert site == load_site(LOCAL)
