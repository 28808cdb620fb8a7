# %% [markdown]
# # 10 &nbsp; Large-scale deep learning: one GPU, one node, many nodes
#
# A training that takes a week on one GPU takes, with luck, an hour on two hundred. What "with luck" means can be
# worked out beforehand, from two numbers of the network. In this lesson several processes train one model together,
# for real. We ask three questions, in this order: **is the result still the same? what does it cost? what happens when
# one fails?**
#
# **After this lesson you can**
#
# - explain data and model parallelism, and synchronous and asynchronous training;
# - write the loop of a synchronous data-parallel training, and prove that four workers compute what one computes;
# - predict what an all-reduce costs from a latency and a bandwidth, and test the prediction;
# - let a training survive the death of a worker;
# - read a scaling plot, and say what limits it.

# %% tags=["parameters"]
mode = "fast"  # "fast": small digits, processes on CPU cores; "full": the same on MNIST
seed = 0  # of the random numbers; another seed is another experiment

# %%
import shutil
import tempfile

import keras
import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf
from davide_course import data, machine, plots, workers
from davide_course.checks import lesson10 as check
from davide_course.prepare import prepare

gpus = tf.config.list_physical_devices("GPU")
if not gpus:  # then one processor plays four devices
    four = [tf.config.LogicalDeviceConfiguration()] * 4
    tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], four)
prepare(seed)
job = machine.look()

# %% [markdown]
# ## Two ways to share the work
#
# **Model parallelism** cuts the model: each device holds a part of the weights. A layer $\mathbf y = W\mathbf x$ can
# be cut by rows, $W = (W_1; W_2)$: each half needs the whole input and gives half of the output. It is what one does
# when a model does not fit into one memory, and it costs communication *inside* each layer.
#
# **Data parallelism** copies the model: each of $p$ workers has all weights and a part of the batch. It costs one
# exchange of gradients per step, and is what nearly everybody does first. First the cut model:

# %%
random = np.random.default_rng(seed)
weights, inputs = random.normal(size=(6, 4)), random.normal(size=4)
halves = [part @ inputs for part in np.split(weights, 2)]  # on two devices
print("largest difference from the whole:", np.abs(np.concatenate(halves) - weights @ inputs).max())

# %% [markdown]
# ## The mean that must be right
#
# The gradient is a sum over examples, so it can be added up from parts. With a global batch of $B$ examples, of which
# worker $w$ has $B/p$,
#
# $$\nabla L = \frac{1}{B} \sum_{i=1}^{B} \nabla \ell_i
#            = \sum_{w=1}^{p} \Big( \frac{1}{B} \sum_{i \in w} \nabla \ell_i \Big).$$
#
# Each worker computes its bracket, all brackets are added, and all workers make the same step: **synchronous**
# training. The sum is done by the library. The factor in front is done by you, and it is the commonest mistake in the
# business: nothing crashes, and the learning rate is wrong by a factor $p$.
#
# ### Exercise 1
# Write the loss of one worker, so that the *sum* of the workers' gradients is the gradient of the whole batch.


# %% tags=["solution"]
def loss_of_worker(losses, count):
    """Return this worker's part of the loss.

    `losses` are those of its own examples; each of `count` workers has as many.
    """
    return tf.reduce_sum(losses) / (len(losses) * count)


# %% tags=["check"]
check.loss_of_worker(loss_of_worker)

# %% [markdown]
# ## One node: MirroredStrategy
#
# On one node TensorFlow does all of this for you: a `MirroredStrategy` copies the model to every device and adds the
# gradients up. Only the lines under `scope` know of it. Where there are no GPUs, four pieces of this processor play
# them: that shows the arithmetic, and no speed at all.

# %%
images = data.load_images(mode)
batch, rows = 256, 1280
x, y = images.train[:rows], images.train_labels[:rows]


def fitted(strategy):
    """Return the weights of a small network after three epochs of `fit` under a strategy."""
    keras.utils.set_random_seed(seed)
    with strategy.scope():
        model = keras.Sequential([keras.Input((x.shape[1],)), keras.layers.Dense(32, "tanh"), keras.layers.Dense(10)])
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.SGD(0.1, momentum=0.9), loss=loss, jit_compile=False)
    batches = tf.data.Dataset.from_tensor_slices((x, y)).batch(batch)
    model.fit(batches, epochs=3, shuffle=False, verbose=0)
    return [one.numpy() for one in model.trainable_variables]


# %%
devices = [f"GPU:{number}" for number in range(len(gpus))] or [f"CPU:{number}" for number in range(4)]
alone, mirrored = fitted(tf.distribute.get_strategy()), fitted(tf.distribute.MirroredStrategy(devices))
apart = max(np.abs(one - other).max() for one, other in zip(alone, mirrored, strict=True))
print(f"{len(devices)} devices against one: weights differ by {apart:.1e}")

# %% [markdown]
# Equal but for rounding: sums of floating-point numbers depend on their order.
#
# ## How gradients are added: the ring
#
# If every worker sent its gradient of $n$ bytes to one master, the master would receive $(p-1)\,n$ bytes, and the more
# workers, the longer it takes. The **ring all-reduce** [1] has no master. The gradient is cut into $p$ pieces; in each
# of $2(p-1)$ rounds every worker sends *one piece* to its right neighbour. In the first $p-1$ rounds the pieces are
# added up on their way round; in the others the finished sums go round.


# %%
def ring(gradients):
    """Return what each worker has after a ring all-reduce, and how many numbers each of them sent."""
    p, sent = len(gradients), 0
    pieces = [np.array_split(one.astype(float), p) for one in gradients]
    for turn in range(2 * (p - 1)):
        moving = [(worker, (worker - turn) % p) for worker in range(p)]
        parcels = [(worker, number, pieces[worker][number].copy()) for worker, number in moving]
        for worker, number, parcel in parcels:
            right = (worker + 1) % p
            pieces[right][number] = parcel + pieces[right][number] * (turn < p - 1)
        sent += len(parcels[0][2])
    return [np.concatenate(one) for one in pieces], sent


for p in (2, 4, 8):
    gradients = random.normal(size=(p, 960))
    sums, sent = ring(gradients)
    print(f"{p} workers: all have the sum: {np.allclose(sums, gradients.sum(axis=0))}; each sent {sent} of 960 numbers")

# %% [markdown]
# However many workers there are, each sends less than twice the gradient. If a message costs a **latency** $\alpha$
# whatever its size, and a **bandwidth** $b$ for the rest, the ring of $p$ workers with $n$ bytes takes
#
# $$T(p, n) = 2(p-1)\left(\alpha + \frac{n/p}{b}\right).$$
#
# ### Exercise 2
# Write it, in seconds. A megabyte is $10^6$ bytes.


# %% tags=["solution"]
def ring_seconds(count, megabytes, latency, bandwidth):
    """Return the seconds of a ring all-reduce; latency in seconds, bandwidth in megabytes/s."""
    return 2 * (count - 1) * (latency + megabytes / count / bandwidth)


# %% tags=["check"]
check.ring_seconds(ring_seconds)

# %% [markdown]
# ## Many workers: the loop
#
# Now with real processes, each with its own memory and its own TensorFlow, which know each other by address alone. In a
# Slurm job they are a job of their own, on as many nodes as it takes; elsewhere they are processes of this machine.
# This function is what each of them runs: read it slowly, it is the heart of the lesson.
#
# - Every worker starts from the same weights, takes its rows of the batch, and adds its gradient to the others' with
#   `all_reduce`. As all of them make the same step, their weights stay equal without ever being sent.
# - Worker 0 writes a **checkpoint** every ten steps: weights *and* momenta, in one rename.
# - At the end each of them measures how long an all-reduce takes, and a step.


# %%
def train(worker):
    """Train a small network with the other workers; `worker` has an index, a count, options and a place to save."""
    import time
    from pathlib import Path

    import numpy as np
    import tensorflow as tf

    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    have, steps, folder = worker.options, worker.options["steps"], Path(worker.options["folder"])
    with np.load(folder / "data.npz") as file:
        x, y = file["x"], file["y"]
    checkpoint = folder / "checkpoint.npz"
    start = checkpoint if have["resume"] and checkpoint.exists() else folder / "start.npz"
    with np.load(start) as file:
        done, values = int(file["done"]), [file[f"v{i}"] for i in range(8)]
    variables = [tf.Variable(value) for value in values]
    w, momenta = variables[:4], variables[4:]

    def add_up(values):
        return tf.distribute.get_replica_context().all_reduce("SUM", [tf.identity(one) for one in values])

    def one_step(x, y):
        with tf.GradientTape() as tape:
            scores = tf.tanh(x @ w[0] + w[1]) @ w[2] + w[3]
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(y, scores)
            loss = tf.reduce_sum(losses) / (len(x) * worker.count)  # not the mean of this worker's rows
        for value, momentum, slope in zip(w, momenta, add_up(tape.gradient(loss, w)), strict=True):
            momentum.assign(0.9 * momentum + slope)
            value.assign_sub(0.1 * momentum)

    step = tf.function(lambda x, y: strategy.run(one_step, (x, y)))
    reduce = tf.function(lambda values: strategy.run(lambda one: add_up([one])[0], (values,)))

    def seconds(call, times):
        call()  # the first call compiles
        took = []
        for _ in range(times):
            begin = time.perf_counter()
            call()
            took.append(time.perf_counter() - begin)
        return took

    share = 256 // worker.count
    for number in range(done, steps):
        first = number * 256 % len(x) + worker.index * share
        step(x[first : first + share], y[first : first + share])
        if worker.index == 0 and (number + 1) % 10 == 0:
            state = {f"v{i}": one.numpy() for i, one in enumerate(variables)}
            np.savez(folder / "draft.npz", done=number + 1, **state)
            (folder / "draft.npz").replace(checkpoint)
        if have["dies"] == [worker.index, number + 1]:
            die(worker, number + 1)  # noqa: F821 - the workers' own, as `kill -9` does it

    found = {"resumed_at": done, "weights": [one.numpy().tolist() for one in w], "reduce": {}, "steps": {}}
    tensors = {size: tf.ones([size]) for size in have["sizes"]}
    rounds = [
        {size: min(seconds(lambda one=one: reduce(one).numpy(), 5)) for size, one in tensors.items()} for _ in range(5)
    ]
    found["reduce"] = {size: min(one[size] for one in rounds) for size in tensors}
    for name, size in {"strong": share, "weak": 256}.items() if have["sizes"] else ():
        found["steps"][name] = min(seconds(lambda size=size: step(x[:size], y[:size]), 15))
    worker.save(found)


# %% [markdown]
# ### First question: is it the same?
#
# One process with a batch of 256, and four with 64 each, from the same start, 40 steps. **Prediction 1.** By how much
# do their weights differ?

# %%
guess = {"largest difference of the weights": None}
folder = tempfile.mkdtemp(prefix="lesson10-", dir=check.place())
random = np.random.default_rng(seed)
shapes = [(x.shape[1], 128), (128,), (128, 10), (10,)]
start = [(random.normal(size=shape) / np.sqrt(shape[0])).astype("float32") for shape in shapes]
start += [np.zeros(shape, "float32") for shape in shapes]
np.savez(f"{folder}/start.npz", done=0, **{f"v{i}": one for i, one in enumerate(start)})
np.savez(f"{folder}/data.npz", x=x, y=y)
sizes = [4_000, 10_000, 25_000, 60_000, 130_000, 250_000, 500_000]  # numbers of 4 bytes
options = {"steps": 40, "folder": folder, "resume": False, "dies": None, "sizes": []}

# %%
one = check.alone(start, x, y, steps=40)  # the same loop without any strategy, in this process
four = workers.run(train, 4, options | {"sizes": sizes})
check.prediction(guess, [check.difference(one["weights"], four[0]["weights"])])

# %% [markdown]
# The same to the last digits, so we may go on to speed: a fast training of something else would be of no use.
#
# ### Second question: what happens when one fails?
#
# With a thousand GPUs something fails every day. Worker 1 of two dies at step 25, as if its node had lost power.
# TensorFlow's collective operations can't go on without it, so the others have to be ended, and quickly: they would
# hold their GPUs.

# %%
try:
    workers.run(train, 2, options | {"dies": [1, 25]})
except workers.WorkersFailed as problem:
    death = problem
    print(problem)

# %% [markdown]
# The rerun finds the checkpoint of step 20 and goes on. **Prediction 2.** Will its weights after step 40 be those of
# the run that nothing interrupted? What if it forgot the momenta?

# %%
resumed = workers.run(train, 2, options | {"resume": True, "sizes": sizes})
print(f"resumed at step {resumed[0]['resumed_at']}")
print(f"differs from the uninterrupted run by {check.difference(one['weights'], resumed[0]['weights']):.1e}")

# %% [markdown]
# **A worker that never starts** is worse than one that dies: TensorFlow alone would wait for it for ever, and a full
# reservation would wait with it. The course's workers first meet in a folder, and give up after some seconds:

# %%
try:
    workers.run(train, 2, options, never_starts=1, patience=2)
except workers.WorkersFailed as problem:
    missing = problem
    print(problem)
shutil.rmtree(folder, ignore_errors=True)  # to run the cells above again, begin where the folder is made

# %% [markdown]
# ### Third question: what does it cost?
#
# For a fixed number of workers the formula is a straight line, $T = a + b\,n$. We fit it to *every other* size (each
# deviation relative to the time itself, or the largest would decide alone), and predict the others.

# %%
fits = {p: check.line(found[0]["reduce"]) for p, found in {2: resumed, 4: four}.items()}
for p, fit in fits.items():
    print(
        f"{p} workers: {1000 * fit.a:.1f} ms + {1e9 * fit.b:.2f} ms per million bytes; held out: {fit.worst:.2f} x off"
    )

# %% tags=["aside"]
_, axis = plt.subplots(figsize=(7, 3.8))
for (p, fit), colour in zip(fits.items(), plots.COLOURS, strict=False):
    axis.loglog(fit.bytes, fit.seconds, color=colour, label=f"{p} workers, the line")
    for chosen, marker, what in ((fit.fitted, "o", "fitted"), (~fit.fitted, "D", "held out")):
        axis.plot(fit.bytes[chosen], fit.measured[chosen], marker, color=colour, label=f"{p} workers, {what}")
axis.set(xlabel="bytes", ylabel="seconds of an all-reduce")
axis.legend(loc="upper left", bbox_to_anchor=(1, 1))
plt.show()

# %% [markdown]
# ## Weak and strong scaling
#
# **Strong scaling**: the same global batch, cut into more parts. **Weak scaling**: the same batch *per worker*. With
# $t_1$ the time of a step alone and $t_p$ with $p$ workers, the **efficiency** is $t_1 / (p\, t_p)$ for strong and
# $t_1 / t_p$ for weak scaling. The **communication share** is the part of a step that the all-reduce takes.

# %%
table = check.scaling(one["steps"], {2: resumed[0], 4: four[0]}, fits, numbers=sum(map(np.size, start[:4])))
print(table)

# %% tags=["aside"]
names = ["alone", *(f"{row.kind}, {row.count} workers" for row in table.rows[1:])]
_, axis = plt.subplots(figsize=(7.5, 3.4))
places = np.arange(len(names))
axis.barh(places - 0.2, [1000 * row.measured for row in table.rows], 0.36, label="measured")
axis.barh(places + 0.2, [1000 * row.predicted for row in table.rows], 0.36, label="predicted")
axis.set_yticks(places, names)
axis.invert_yaxis()
axis.set(xlabel="milliseconds a step")
axis.legend(loc="upper left", bbox_to_anchor=(1, 1))
plt.show()

# %% [markdown]
# **What these numbers are, and are not.** Without GPUs the workers share the cores of one machine or of a busy node:
# four processes on two cores are no speed-up, and the table does not claim one. The network is tiny, so nearly all of
# a step is latency: exactly the case in which one should *not* use more workers. What carries over to GPUs is the
# method: two measured numbers, and a prediction before the run.
#
# ## The yardsticks
#
# Predict big machines the same way. ResNet-50 has 102 MB of gradients and a P100 does 219 images a second; VGG-16 has
# 552 MB and a P100 does 154 [4]. Take batches of 64 images, and a network of 25 Gbit/s that four GPUs share, as
# Horovod's authors had [1]. **Prediction 3.** Sketch the efficiency of both up to 512 GPUs, then compare with what was
# published [1, 2, 3].

# %% tags=["aside"]
counts = 2 ** np.arange(1, 10)
_, axis = plt.subplots(figsize=(9, 4))
for name, megabytes, rate in (("ResNet-50", 102, 219), ("VGG-16", 552, 154)):
    compute = 64 / rate
    exchange = 2 * (counts - 1) * (20e-6 + megabytes / counts / 3125)
    axis.semilogx(counts, compute / (compute + exchange), "-", base=2, label=f"our prediction, {name}")
published = {"Horovod, ResNet-101": (512, 0.90), "Horovod, VGG-16": (512, 0.68)}
published |= {"Goyal et al., ResNet-50": (256, 0.90), "IBM DDL, Caffe": (256, 0.95)}
for (name, (count, efficiency)), marker in zip(published.items(), "osD^", strict=True):
    axis.plot(count, efficiency, marker, label=f"published: {name}")
axis.set(xlabel="GPUs", ylabel="efficiency", ylim=(0, 1.05), xticks=counts, xticklabels=counts)
axis.legend(loc="upper left", bbox_to_anchor=(1, 1))
plt.show()

# %% [markdown]
# The order is right, and so is the reason: the network with five times the gradients scales worst. The prediction is
# pessimistic, because real systems send the last layers' gradients while the first are still being computed.
#
# ## The learning rate of a large batch
#
# More workers mean a larger global batch, and fewer steps per epoch. The **linear rule** [2]: with $k$ times the batch
# take $k$ times the learning rate; and as the first gradients are large, reach it over the first epochs (**warm-up**).
#
# **Prediction 4.** Which of the four curves ends highest, which is closest to the small batch?


# %% tags=["aside"]
def curve(size, rate, warm=0, epochs=16):
    """Return the training loss after each epoch: batches of `size`, this learning rate, a warm-up of some epochs."""
    variables = [tf.Variable(value) for value in start]
    rates = tf.Variable(0.0)
    step = check.step_of(variables, rates)
    found = []
    for epoch in range(epochs):
        for first in range(0, rows, size):
            rates.assign(rate * min(1, (epoch + first / rows) / warm) if warm else rate)
            step(x[first : first + size], y[first : first + size])
        found.append(float(check.loss_of(variables[:4], x, y)))
    return found


runs = {"batch 32, rate 0.02": curve(32, 0.02), "batch 640, rate 0.02": curve(640, 0.02)}
runs |= {"batch 640, rate 0.4": curve(640, 0.4), "batch 640, rate 0.4, warm-up": curve(640, 0.4, warm=3)}

# %% tags=["aside"]
_, axis = plt.subplots(figsize=(7, 3.8))
for (name, losses), look in zip(runs.items(), ("-", "--", ":", "-."), strict=True):
    axis.semilogy(np.arange(1, len(losses) + 1), losses, look, label=name, linewidth=2)
axis.set(xlabel="epochs", ylabel="training loss")
axis.legend(loc="upper left", bbox_to_anchor=(1, 1))
plt.show()

# %% [markdown]
# The same rate with a batch twenty times as large makes a twentieth of the way per epoch. Twenty times the rate catches
# up.  What the warm-up gains depends on how wild the first steps are.
#
# ## Synchronous or asynchronous
#
# Synchronous workers wait for the slowest. **Asynchronous** ones don't: each sends its gradient when it has it, but
# then it was computed with weights that are some steps old. What a delay does shows in one dimension, $L = w^2/2$,
# where plain descent with the rate 0.3 can't fail:

# %% tags=["aside"]
_, axis = plt.subplots(figsize=(7, 3.4))
for delay, look in ((0, "-"), (2, "--"), (4, "-."), (6, ":")):
    path = [1.0] * (delay + 1)
    for _ in range(60):
        path.append(path[-1] - 0.3 * path[-1 - delay])  # the gradient is that of old weights
    axis.plot(path[delay:], look, label=f"{delay} steps old")
axis.set(xlabel="steps", ylabel="w", ylim=(-2.5, 2.5))
axis.legend(loc="upper left", bbox_to_anchor=(1, 1))
plt.show()

# %% [markdown]
# Old gradients swing, and from some delay on they diverge: asynchronous training needs a smaller rate for the same
# peace. That is why synchronous training won wherever machines are equal and networks are fast.
#
# ## Where you stand

# %% tags=["check"]
check.report(start, images, one, mirrored, alone, four, resumed, death, missing, fits)

# %% [markdown]
# ## Summary
#
# - Data parallelism copies the model and adds gradients; model parallelism cuts the model.
# - Divide by the *global* batch. Then $p$ workers compute what one computes, and that is tested before speed.
# - A ring all-reduce costs $2(p-1)(\alpha + n/(p\,b))$: nearly independent of $p$ for large gradients, latency for
#   small ones.
# - A worker that dies ends the others; a checkpoint with weights and momenta makes the rerun equal to an uninterrupted
#   run.
# - Predict, then measure. Few gradients and much computing scale well; VGG-16 shows the opposite.
#
# ## References
#
# 1. A. Sergeev and M. Del Balso (2018), *Horovod: fast and easy distributed deep learning in TensorFlow*.
#    [arXiv:1802.05799](https://arxiv.org/abs/1802.05799)
# 2. P. Goyal et al. (2017), *Accurate, large minibatch SGD: training ImageNet in 1 hour*.
#    [arXiv:1706.02677](https://arxiv.org/abs/1706.02677)
# 3. M. Cho et al. (2017), *PowerAI DDL*. [arXiv:1708.02188](https://arxiv.org/abs/1708.02188). The 95 % are what IBM
#    told the press: M. Feldman (2017), *IBM pushes envelope in deep learning scalability*, TOP500 News.
#    [top500.org](https://www.top500.org/news/ibm-pushes-envelope-in-deep-learning-scalability/)
# 4. TensorFlow (2017), *Benchmarks*, P100 with synthetic data, batches of 64. [github.com/tensorflow](https://github.com/tensorflow/tensorflow/blob/5984ffefd320c5d71b801ee06079a51b91ea42c0/tensorflow/docs_src/performance/benchmarks.md)
# 5. P. Patarasuk and X. Yuan (2009), *Bandwidth optimal all-reduce algorithms for clusters of workstations*, Journal of
#    Parallel and Distributed Computing 69. [doi:10.1016/j.jpdc.2008.09.002](https://doi.org/10.1016/j.jpdc.2008.09.002)
