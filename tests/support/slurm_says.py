"""What Slurm's commands say of the local cluster, for tests that pretend it."""

from __future__ import annotations

import time

PARTITION = "dvd_usr_prod"


def sinfo(*nodes: str) -> str:
    """Return sinfo's answer about some nodes; see `node`."""
    return "NODELIST|PARTITION|STATECOMPLETE|GRES|GRES_USED|CPUS(A/I/O/T)|MEMORY|ALLOCMEM\n" + "".join(nodes)


def node(name: str, used: int = 0, state: str = "") -> str:
    """Return sinfo's line about a node with four GPUs, of which some are used, each by a session of profile one-gpu."""
    taken = f"IDX:0-{used - 1}" if used > 1 else "IDX:0" if used else "IDX:N/A"
    state = state or ("allocated" if used == 4 else "mixed" if used else "idle")
    cpus = f"{4 * used}/{16 - 4 * used}/0/16"
    return f"{name}|{PARTITION}|{state}|gpu:tesla:4|gpu:tesla:{used}({taken})|{cpus}|24576|{6144 * used}\n"


def associations(**accounts: tuple[str, ...]) -> str:
    """Return sacctmgr's answer: the accounts of each user, with QOS high beside normal in all but the first."""
    rows = [
        f"davide|{account}|{user}|{'normal' if place == 0 else 'high,normal'}\n"
        for user, names in accounts.items()
        for place, account in enumerate(names)
    ]
    return "Cluster|Account|User|QOS\n" + "".join(rows)


def reservation(name: str, start: float, end: float, *, users: str = "(null)", accounts: str = "(null)") -> str:
    """Return scontrol's line about a reservation of both nodes."""
    first, last = (time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(moment)) for moment in (start, end))
    return (
        f"ReservationName={name} StartTime={first} EndTime={last} Duration=01:00:00 Nodes=gpu[01-02] NodeCnt=2 "
        f"CoreCnt=32 Features=(null) PartitionName={PARTITION} Flags= TRES=cpu=32 Users={users} Groups=(null) "
        f"Accounts={accounts} Licenses=(null) State=INACTIVE BurstBuffer=(null) Watts=n/a MaxStartDelay=(null)\n"
    )
