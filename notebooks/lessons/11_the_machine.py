# %% [markdown]
# # 11 &nbsp; The machine, and Jupyter on it
#
# You have been working on a cluster all along, through a browser. This lesson looks behind the page: where your cells
# run, what of the machine is yours and for how long, and how to be a neighbour that others like. Everything is asked
# from **Slurm**, the batch system that shares the machine out, with the commands that you would type into a terminal.
#
# **After this lesson you can**
#
# - say which job, node, cores and GPUs a notebook has, and check it against what Slurm says;
# - read `squeue`, `scontrol`, `sinfo` and `sacct`;
# - send a job from a cell, wait for it, and find out what it used;
# - work out how much of a node a request takes from everybody else, and why it pays to ask for less.

# %% tags=["parameters"]
mode = "fast"  # this lesson is the same in both modes; it needs no GPU
seed = 0  # of the simulated queue; another seed is another day

# %%
import os
import time

import matplotlib.pyplot as plt
import numpy as np
from davide_course import machine, plots, queueing, slurm
from davide_course.checks import lesson11 as check

plt.rcParams.update(plots.STYLE)
job = machine.look()

# %% [markdown]
# ## Which machine
#
# The site's administrators wrote down what there is. A **node** is one computer, a **partition** a group of nodes with
# common rules, an **account** the budget that pays.

# %%
site = machine.site()
machine.Story(site)

# %% [markdown]
# ## From the browser to this cell
#
# Your browser talks to a proxy, which leads to a JupyterLab server, which runs *inside a Slurm job of yours* and starts
# a **kernel** for each notebook: the Python process that runs this cell. Processes descend from each other, so ask:

# %%
for number, name in machine.ancestors():
    print(f"{number:>8}  {name}")

# %% [markdown]
# Read it from the bottom. In a session you find `slurmstepd`, the process by which Slurm starts, watches and ends your
# job. Whatever descends from it belongs to the job: it is confined to the job's GPUs, its time is charged, and it is
# gone when the job ends.
#
# **The log-in node is not in this list, and should not be.** It is shared by everybody, has no GPU, and is there for
# editing and for sending jobs. A training there slows down all who are logged in, and administrators end it.
#
# ## Your jobs
#
# `squeue` is the list of jobs; `--me` leaves yours. `ST` is the state: `R` runs, `PD` waits, and then the last column
# says what for.

# %%
slurm.show("squeue --me", check.EXAMPLE_SQUEUE)

# %% [markdown]
# All that Slurm knows of a single job comes from `scontrol show job`. We turn it into a dictionary.

# %%
said = slurm.read(f"scontrol show job {job or check.EXAMPLE_JOB}", check.EXAMPLE_SCONTROL)
by_slurm = slurm.fields(said)

# %% [markdown]
# ## Where am I?
#
# A program should not have to ask: Slurm puts the same facts into the **environment** of every job, as variables that
# begin with `SLURM`. The useful ones:
#
# | variable | is |
# |---|---|
# | `SLURM_JOB_ID` | the job's number; missing outside of a job |
# | `SLURMD_NODENAME` | the node that this process runs on |
# | `SLURM_SUBMIT_HOST` | the host from which the job was sent: often the log-in node |
# | `SLURM_CPUS_ON_NODE` | how many cores the job has on this node |
# | `SLURM_JOB_GPUS` | the job's GPUs on this node, as a list: `0,2-3` are three; missing without GPUs |
#
# ### Exercise 1
# Write what a training should print in its first line, so that its log can be understood next month.
# `slurm.gpus("0,2-3")` counts a list. Outside of a job (on the log-in node, on your laptop) the answer is `None`.


# %% tags=["solution"]
def where_am_i(environment):
    """Return (job number, node, cores, GPUs) of the job as (text, text, int, int), from a dictionary of variables.

    Outside of a job return None: there is no job to speak of.
    """
    if "SLURM_JOB_ID" not in environment:
        return None
    node = environment["SLURMD_NODENAME"]
    cores = int(environment["SLURM_CPUS_ON_NODE"])
    return environment["SLURM_JOB_ID"], node, cores, slurm.gpus(environment.get("SLURM_JOB_GPUS", ""))


# %% tags=["check"]
check.where_am_i(where_am_i)

# %% [markdown]
# Two witnesses are better than one. The environment was written when the job began, `scontrol` asks the controller now:

# %%
for name, (mine, slurms) in check.witnesses(os.environ, by_slurm).items():
    print(f"{name:<10} environment {mine or '-':<14} scontrol {slurms or '-':<14} {'same' if mine == slurms else ''}")

# %% [markdown]
# ## Which GPU?
#
# GPUs are files in `/dev`, and Slurm lets a job open its own and no other. Inside of the job CUDA counts them from 0
# again: your `GPU:0` may be the node's third.

# %%
files = machine.gpu_files()
for name, state in files.items():
    print(f"/dev/{name}: {state}")
print(f"{len(files)} GPUs on this node; CUDA_VISIBLE_DEVICES is {os.environ.get('CUDA_VISIBLE_DEVICES', 'not set')}")

# %% [markdown]
# **One GPU, several notebooks.** Each notebook has a kernel of its own, and each kernel of a session sees the session's
# GPUs. TensorFlow is told here to take GPU memory as it needs it, so that a second notebook still finds some. It gives
# none back while its kernel lives: *Kernel, Shut Down* when you are done with a notebook.
#
# ## How long?
#
# `%M` is the time used, `%l` the limit, `%L` what is left.

# %%
slurm.show(f"squeue --job={job or check.EXAMPLE_JOB} --format=%i,%j,%M,%l,%L", check.EXAMPLE_TIMES)

# %% [markdown]
# When nothing is left, Slurm sends the job's processes SIGTERM, and half a minute later SIGKILL. Files stay, memory
# does not: what a training has not written to a checkpoint is lost (lesson 9).
#
# ## The neighbours
#
# `sinfo` shows the nodes: state, cores as *allocated / idle / other / total*, memory in MB, and GPUs.

# %%
slurm.show('sinfo --Node --format="%N %t %C %m %G"', check.EXAMPLE_SINFO)

# %% [markdown]
# ## A share of a node
#
# A node has cores, memory and GPUs. Who takes all the cores and one GPU leaves three GPUs that nobody can use, for want
# of a core. So a request costs its *largest* share of any of the three, which is also how centres charge:
#
# $$\text{share} = \max\left(\frac{\text{cores asked}}{\text{cores}},\ \frac{\text{memory asked}}{\text{memory}},\
#   \frac{\text{GPUs asked}}{\text{GPUs}}\right).$$
#
# ### Exercise 2
# Write it. Both arguments are dictionaries with the keys `cores`, `memory_gb` and `gpus`. Some nodes have no GPUs.


# %% tags=["solution"]
def share_of_node(asked, node):
    """Return the share of a node that others can't use: the largest of cores, memory, GPUs."""
    kinds = [kind for kind in ("cores", "memory_gb", "gpus") if node[kind] > 0]
    return max(asked[kind] / node[kind] for kind in kinds)


# %% tags=["check"]
check.share_of_node(share_of_node)

# %% [markdown]
# **Prediction 1.** Which row of the session menu is the most balanced, and which leaves GPUs that nobody can use?

# %% tags=["aside"]
nodes = {one["name"]: one for one in site.partitions}
kinds = {"cores": "cores", "memory_gb": "memory", "gpus": "GPUs"}
_, axis = plt.subplots(figsize=(7.5, 0.9 * len(site.profiles) + 1.2))
for offset, (kind, label) in enumerate(kinds.items()):
    shares = [one[kind] / max(nodes[one["partition"]][kind], 1) for one in site.profiles]
    axis.barh(np.arange(len(shares)) + 0.25 * (offset - 1), shares, 0.23, label=label, color=plots.COLOURS[offset])
axis.set_yticks(range(len(site.profiles)), [one["title"] for one in site.profiles])
axis.set(xlabel="share of a node", xlim=(0, 1.02))
axis.invert_yaxis()
axis.legend(loc="upper left", bbox_to_anchor=(1, 1))
plt.show()

# %% [markdown]
# ## Why short requests start earlier
#
# The rule is *first come, first served*: a job for the whole cluster waits until all of it is free, and all behind it
# wait too, while GPUs idle. **Backfill** mends that: a job may overtake if, by the time it *asked* for, it is over
# before the one at the head of the queue could start anyway. Nobody is delayed, and gaps are used.
#
# We simulate some days of a cluster of eight GPUs: 300 jobs, most of them short and small, each using 30 to 100 % of
# the time it asks for.
#
# **Prediction 2.** The mean waiting time, in hours, of jobs that ask for at most an hour?

# %%
guess = {"first come, first served": None, "backfill": None, "backfill, but all ask for 8 h": None}

# %%
gpus = 8
jobs = queueing.day_of_jobs(seed, gpus=gpus)
lazy = queueing.all_ask_for(jobs, hours=8)
in_turn = queueing.starts(jobs, gpus, backfill=False)
filled = queueing.starts(jobs, gpus, backfill=True)
filled_lazy = queueing.starts(lazy, gpus, backfill=True)
submitted = np.array([one.submitted for one in jobs])
short = np.array([one.asked <= 1 for one in jobs])
waits = [(np.array(began) - submitted)[short].mean() for began in (in_turn, filled, filled_lazy)]
check.prediction(guess, waits)

# %% tags=["aside"]
plots.bars(dict(zip(guess, waits, strict=True)), "mean hours that a short job waits", 1)

# %% tags=["aside"]
_, axis = plt.subplots(figsize=(7.5, 3.4))
hours = np.linspace(0, max(in_turn), 400)
for label, began in {"first come, first served": in_turn, "backfill": filled}.items():
    queue = [np.sum((submitted <= hour) & (np.array(began) > hour)) for hour in hours]
    axis.plot(hours, queue, label=label)
axis.set(xlabel="hours", ylabel="jobs that wait")
axis.legend()
plt.show()

# %% [markdown]
# The same jobs on the same GPUs: with backfill a short job waits a fraction of the time. But backfill believes what is
# asked. Where everybody asks for the maximum "to be safe", no gap is ever long enough, and it is as if there were no
# backfill. Ask for what you need plus a margin, not for the limit.
#
# ## A job from a cell
#
# A session is for looking and trying. Long trainings go into jobs of their own, which need no browser: a script with
# `#SBATCH` lines, sent with `sbatch`. `--wait` waits for its end. Its options are the facts of this site.

# %%
script = f"""#!/bin/bash
#SBATCH --job-name=from-a-cell
#SBATCH --account={site.account}
#SBATCH --partition={site.partitions[0]["name"]}
#SBATCH --cpus-per-task=1
#SBATCH --mem=200M
#SBATCH --time=2
#SBATCH --output=from-a-cell.out
echo "job $SLURM_JOB_ID on $SLURMD_NODENAME, sent from $SLURM_SUBMIT_HOST"
"""
print(script)

# %%
began = time.monotonic()
sent = check.send(script)
print(sent)
print(f"{time.monotonic() - began:.0f} s from sending it to its end")

# %% [markdown]
# **Shorter.** `%load_ext davide_course.cell`, and a cell that begins with `%%davide --gpus 2 --time 20` is such a job:
# one process for each GPU, output below the cell, its variable `result` back in the notebook. The interrupt button
# cancels it. With `--show` it prints the script instead, and you recognise every line; `%davide --help` has the rest.
#
# ## What a job used
#
# `squeue` forgets a job when it ends; `sacct` remembers. `Elapsed` is what was charged, `TotalCPU` what was used: with
# four cores for an hour and one hour of `TotalCPU`, three cores were idle. A running job shows its part at the end.

# %%
slurm.show(
    "sacct --allocations --starttime=today --format=JobID,JobName%20,State,Elapsed,TotalCPU", check.EXAMPLE_SACCT
)

# %% [markdown]
# `scancel NUMBER` ends a job of yours, waiting or running. Don't try it on your own session: this page would be gone,
# with all that its kernels remember.
#
# ## A good neighbour
#
# - takes the row of the menu that the notebook needs: none of these lessons needs four GPUs in fast mode;
# - stops the session before lunch: *File, Hub Control Panel, Stop My Server*; an idle GPU is charged like a busy one;
# - asks for the time a job needs, and writes checkpoints so that an hour is enough;
# - trains nothing on the log-in node, and reads `squeue --me` before sending the same thing again.
#
# ## Where you stand

# %% tags=["check"]
check.report(jobs, in_turn, filled)

# %% [markdown]
# ## Summary
#
# - A notebook's kernel is a process in a Slurm job on a compute node. Slurm confines it, charges it and ends it.
# - The environment says where a program is, and `scontrol` says the same from outside; `squeue` shows the present,
#   `sacct` the past.
# - A request costs its largest share of a node. Backfill rewards those who ask for what they need.
#
# ## References
#
# 1. A. Yoo, M. Jette and M. Grondona (2003), *SLURM: Simple Linux Utility for Resource Management*, Job Scheduling
#    Strategies for Parallel Processing. [doi:10.1007/10968987_3](https://doi.org/10.1007/10968987_3)
# 2. D. Lifka (1995), *The ANL/IBM SP scheduling system*, Job Scheduling Strategies for Parallel Processing.
#    [doi:10.1007/3-540-60153-8_35](https://doi.org/10.1007/3-540-60153-8_35)
# 3. A. Ghodsi et al. (2011), *Dominant resource fairness: fair allocation of multiple resource types*, NSDI.
#    [usenix.org](https://www.usenix.org/conference/nsdi11/dominant-resource-fairness-fair-allocation-multiple-resource-types)
# 4. Slurm's own manual, read in 2026: [slurm.schedmd.com](https://slurm.schedmd.com/man_index.html)
