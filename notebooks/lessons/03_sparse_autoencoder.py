# %% [markdown]
# # 3 &nbsp; Sparse autoencoders
#
# The code stays long, four numbers for each pixel, and now we ask that for each image *most of them are zero*. Each
# image is then made of few parts out of a large box, another image of other parts [1]. What has to be paid for is no
# longer the size of the box but how many parts one image uses.
#
# **After this lesson you can**
#
# - train an autoencoder with the loss $L(\mathbf x, g(f(\mathbf x))) + \Omega(\mathbf h)$ and say why L1 gives zeros;
# - tell true zeros from small numbers, and sparse units from dead ones;
# - steer the share of zeros, and see what it costs;
# - judge features with a paired comparison, beside features that nobody trained;
# - say what a penalty on codes has to do with a prior, and what not.
#
# You need lesson 1. Write your predictions down before you run what they are about.

# %% tags=["parameters"]
mode = "fast"  # "fast": 8 x 8 digits, a minute on two cores; "full": MNIST, for a GPU
seed = 0  # of the random numbers; another seed is another experiment

# %%
import keras
import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf
from davide_course import data, plots, probe
from davide_course.checks import lesson03 as check
from davide_course.prepare import prepare
from davide_course.training import train as minimise
from keras.layers import Dense

prepare(seed)
images = data.load_images(mode)
train, test = images.train, images.test
pixels, units = train.shape[1], 4 * train.shape[1]
epochs = 200 if mode == "fast" else 20  # MNIST has forty times the images
print(f"{images.source}: {pixels} pixels, codes of {units} numbers")

# %% [markdown]
# ## A price for every number
#
# The penalty is the **L1 norm** of the code, averaged over the images:
#
# $$L = \big\langle\, (\mathbf x - g(f(\mathbf x)))^2 \,\big\rangle
#   + \lambda\, \Big\langle \sum_j |h_j| \Big\rangle .$$
#
# Why not the squares? Take one number that would like to be $a > 0$, and minimise over $h \ge 0$:
#
# $$\tfrac12 (h - a)^2 + \lambda h \;\Rightarrow\; h = \max(a - \lambda, 0), \qquad
#   \tfrac12 (h - a)^2 + \tfrac{\lambda}{2} h^2 \;\Rightarrow\; h = \frac{a}{1 + \lambda} .$$
#
# Looked for by brute force, for $\lambda = 1/2$:

# %% tags=["aside"]
h, a = np.linspace(0, 2, 401), np.linspace(-1, 2, 301)[:, None]
_, axis = plt.subplots(figsize=(6, 3.2))
axis.plot(a, h[np.argmin((h - a) ** 2 / 2 + h / 2, axis=1)], label="L1")
axis.plot(a, h[np.argmin((h - a) ** 2 / 2 + h**2 / 4, axis=1)], label="L2")
axis.plot(a, np.maximum(a, 0), ":", color="0.5", label="no penalty")
axis.set(xlabel="what the number would like to be, $a$", ylabel="best $h$")
axis.legend()
plt.show()

# %% [markdown]
# L1 takes the same amount from every number, and those that aren't worth it become **exactly** zero [2]. L2 makes all
# of them smaller, and none above zero becomes zero. But the layer must be able to say zero: $\mathrm{ReLU}(a) =
# \max(a, 0)$ can [3], a sigmoid can't.
#
# ### Exercise 1
# Write such a layer with Keras: `units` numbers that are exactly zero for negative input, and the L1 penalty with
# `strength` on what comes out. (`keras.regularizers` has `L1`.)


# %% tags=["solution"]
def sparse_layer(units, strength):
    """Return a dense layer for sparse codes."""
    return Dense(units, activation="relu", activity_regularizer=keras.regularizers.L1(strength))


# %% tags=["check"]
check.sparse_layer(sparse_layer)

# %% [markdown]
# From here on we write the penalty out, which is the same.


# %%
def learn(strength, activation="relu", on=train, epochs=epochs):
    """Return an autoencoder that minimises the error plus `strength` times the L1 norm of the code."""
    keras.utils.set_random_seed(seed)
    encoder, decoder = Dense(units, activation), Dense(pixels, "sigmoid")
    model = keras.Sequential([keras.Input((pixels,)), encoder, decoder])

    def loss(x):
        codes = encoder(x)
        price = tf.reduce_mean(tf.reduce_sum(tf.abs(codes), axis=1))
        return tf.reduce_mean((decoder(codes) - x) ** 2) + strength * price

    minimise(loss, model.trainable_variables, [on], epochs=epochs, learning_rate=0.005, seed=seed)
    return model


def error(model, originals):
    """Return the mean squared error over images and pixels."""
    return float(np.mean((model(originals).numpy() - originals) ** 2))


# %% [markdown]
# **Prediction 1.** The share of exact zeros in the codes of test images: ReLU without a penalty, ReLU with
# $\lambda = 10^{-4}$, and a sigmoid layer with the same penalty?

# %%
guess = {"ReLU": None, "ReLU, L1": None, "sigmoid, L1": None}

# %%
networks = {"ReLU": learn(0.0), "ReLU, L1": learn(1e-4), "sigmoid, L1": learn(1e-4, "sigmoid")}
codes = {name: model.layers[0](test).numpy() for name, model in networks.items()}
sparse = networks["ReLU, L1"]
check.prediction(guess, [np.mean(one == 0) for one in codes.values()])
for name, model in networks.items():
    below = np.mean(codes[name] < 0.01)
    print(f"{name:<12} error {error(model, test):.4f}, mean |h| {codes[name].mean():.3f}, below 0.01: {below:.0%}")

# %% tags=["aside"]
_, axes = plt.subplots(1, 3, figsize=(10.5, 3), sharey=True)
for axis, (name, one) in zip(axes, codes.items(), strict=True):
    axis.hist(one.ravel(), bins=np.linspace(0, 3, 61), weights=np.full(one.size, 1 / one.size), log=True)
    axis.set(title=name, xlabel="number in the code", ylim=(1e-5, 1))
axes[0].set_ylabel("share")
plt.show()

# %% [markdown]
# With the price three numbers of four are zero, and the error has grown, but less than twofold. The sigmoid pushes its
# numbers down and none of them arrives: whoever counts "smaller than 0.01" measures the threshold that he chose. And
# ReLU has zeros without a price, too. Whose are they?
#
# ## Sparse or dead?
#
# A unit that is zero for *every* image is not sparse, it is **dead**: it takes part in nothing, and where ReLU is
# zero its gradient is, too, so it seldom comes back. Dead units flatter the share of zeros.
#
# ### Exercise 2
# Write the share of exact zeros among the units that are active for at least one image.


# %% tags=["solution"]
def zeros_of_live_units(codes):
    """Return the share of exact zeros among the live units; `codes`: images x units."""
    live = (codes != 0).any(axis=0)
    return float(np.mean(codes[:, live] == 0))


# %% tags=["check"]
check.zeros_of_live_units(zeros_of_live_units)

# %% tags=["aside"]
_, axis = plt.subplots(figsize=(6.5, 3.2))
for name in ("ReLU", "ReLU, L1"):
    activity = np.sort((codes[name] != 0).mean(axis=0))[::-1]
    alive = activity[activity > 0]
    axis.plot(activity, label=name)
    print(f"{name:<9} dead {1 - len(alive) / units:.0%}, zeros of the living {1 - alive.mean():.0%}", end=", ")
    print(f"active in an image: {activity.sum():.0f} of {units}")
axis.set(xlabel="units, in order", ylabel="share of images\nin which it is active", ylim=(0, 1.03))
axis.legend()
plt.show()

# %% [markdown]
# Without a price nearly all zeros are those of dead units; who lives is on for nearly every image. With it the living
# are off two times of three, and hardly more of them are dead: this sparsity is real.
#
# ## What is in the box?
#
# Each unit has its part: what the decoder adds, before its sigmoid, for one unit of code. For three images, the parts
# that contribute most:

# %% tags=["aside"]
box = sparse.layers[1].kernel.numpy()
parts = {}
for index in range(3):
    contribution = codes["ReLU, L1"][index] * np.linalg.norm(box, axis=1)
    parts[f"test image {index + 1}"] = box[np.argsort(contribution)[::-1][:10]]
plots.gallery({"test images": test[:3], "given back": sparse(test[:3])}, images.shape)
plots.gallery(parts, images.shape, signed=True)

# %% [markdown]
# Red adds ink, blue takes it away. Some parts are short strokes and bends, others are harder to name, and the blue rims
# say "no ink here" at once for a whole column. Every image chooses others.
#
# ## The price steers
#
# On images held out from the training set, since that is where strengths are chosen:

# %% tags=["aside"]
kept, held = train[: len(train) * 4 // 5], train[len(train) * 4 // 5 :]
strengths = [1e-5, 1e-4, 1e-3]
models = [learn(strength, on=kept, epochs=epochs // 2) for strength in strengths]
shares = [np.mean(model.layers[0](held).numpy() == 0) for model in models]
errors = [error(model, held) for model in models]
_, (left, right) = plt.subplots(1, 2, figsize=(9.5, 3.2))
left.semilogx(strengths, shares, "o-")
left.set(title="share of zeros, held-out images", xlabel="strength of the penalty", ylim=(0.4, 1))
right.loglog(strengths, errors, "o-", color=plots.COLOURS[1])
right.set(title="error, held-out images", xlabel="strength of the penalty")
plt.show()

# %% [markdown]
# More price, more zeros, more error, and no strength that is "right": $10^{-4}$ stands where most numbers are zero and
# the digits still come back well.
#
# ## Sparse codes as features
#
# Does it help a classifier? Differences will be small, and 360 test images give an accuracy to about one point. So we
# compare **in pairs**: five new splits of all images, on each the sparse network learns anew without labels, and
# logistic regression gets its codes, the pixels, and the codes of a ReLU layer that *nobody trained*.
#
# **Prediction 2.** The mean gain in accuracy over the pixels, in points: sparse code, untrained layer?

# %%
guess = {"sparse code": None, "untrained layer": None}

# %%
by_split, rows = [], []
for first, second, first_labels, second_labels in probe.splits(images):
    by_split.append(learn(1e-4, on=first))
    untrained = Dense(units, "relu", kernel_initializer=keras.initializers.GlorotUniform(seed))
    ways = [by_split[-1].layers[0], untrained, np.asarray]
    fits = [probe.fit_probe(way(first), first_labels) for way in ways]
    rows.append([fit.score(np.asarray(way(second)), second_labels) for fit, way in zip(fits, ways, strict=True)])
gains = 100 * (np.array(rows)[:, :2] - np.array(rows)[:, 2:])
check.prediction(guess, list(gains.mean(axis=0)))

# %% tags=["aside"]
_, axis = plt.subplots(figsize=(7, 3.2))
for place, row in enumerate(gains.T):
    axis.plot(row, np.full(len(row), place), "o", alpha=0.7, label="a split" if place == 0 else None, color="0.4")
    axis.plot(row.mean(), place, "D", ms=9, label="mean" if place == 0 else None, color=plots.COLOURS[0])
axis.axvline(0, color="0.5", linestyle=":")
axis.set(yticks=[0, 1], yticklabels=list(guess), ylim=(-0.6, 1.6), xlabel="gain in accuracy over the pixels (points)")
axis.legend(loc="center right")
plt.show()

# %% [markdown]
# The sparse code gains about a point. But a layer that *nobody trained* gains more than half of that, so most of what
# helps is that the code is long and not linear, and the rest is smaller than the scatter of the splits. A claim about
# learnt features needs this control [4]. Sparse codes have other merits: few numbers to store, to send, to look at.
#
# ## Few labels, many images
#
# Features that were learnt without labels promise most where labels are scarce. Let ten images of each class have one,
# and let all training images be known without. Then one can also learn both at once, with a **joint loss**: that of the
# autoencoder on all images, and for those with a label $y$ the cross-entropy of a classifier that reads the code,
#
# $$L = \big\langle (\mathbf x - g(f(\mathbf x)))^2 \big\rangle + \lambda\, \Omega
#   - \mu\, \big\langle \log p(y \mid f(\mathbf x)) \big\rangle_{\text{labelled}} .$$


# %% tags=["aside"]
def entropy(head, codes, labels):
    """Return the mean cross-entropy of a classifier on codes."""
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, head(codes)))


def learn_jointly(known, labels):
    """Return a classifier that learns from few labels and, as an autoencoder, from all images."""
    model = keras.Sequential([keras.Input((pixels,)), Dense(units, "relu"), Dense(10)])
    (encoder, head), decoder = model.layers, Dense(pixels, "sigmoid")
    decoder.build((None, units))

    def loss(x):
        codes = encoder(x)
        own = tf.reduce_mean((decoder(codes) - x) ** 2) + 1e-4 * tf.reduce_mean(tf.reduce_sum(codes, axis=1))
        return own + 0.01 * entropy(head, encoder(known), labels)

    variables = model.trainable_variables + decoder.trainable_variables
    minimise(loss, variables, [train], epochs=epochs // 4, learning_rate=0.005, seed=seed)
    return model


def learn_from_labels(known, labels):
    """Return the same classifier, from the images with labels alone."""
    model = keras.Sequential([keras.Input((pixels,)), Dense(units, "relu"), Dense(10)])

    def loss(x, y):
        return entropy(model.layers[1], model.layers[0](x), y)

    minimise(loss, model.trainable_variables, [known, labels], epochs=200, learning_rate=0.005, batch=50, seed=seed)
    return model


# %% tags=["aside"]
table = {"pixels": [], "sparse code": [], "labels alone": [], "joint loss": []}
keras.utils.set_random_seed(seed)
for draw in range(3):
    known = probe.few(images.train_labels, 10, draw)
    some, labels = train[known], images.train_labels[known]
    for name, way in {"pixels": np.asarray, "sparse code": sparse.layers[0]}.items():
        table[name].append(probe.fit_probe(way(some), labels).score(np.asarray(way(test)), images.test_labels))
    for name, learner in {"labels alone": learn_from_labels, "joint loss": learn_jointly}.items():
        found = learner(some, labels)(test).numpy().argmax(axis=1)
        table[name].append(np.mean(found == images.test_labels))
plots.bars({name: np.mean(row) for name, row in table.items()}, "accuracy with 100 labels, mean of three draws", 3)
for name, row in table.items():
    print(f"{name:<13}", *[f"{one:.3f}" for one in row])

# %% [markdown]
# With so few labels the sparse code is *worse* than the pixels: what serves to give images back isn't what tells
# classes apart. The joint loss makes one code for both, and is the best in each of these draws, by about a point. (Its
# weight, $\mu = 0.01$, was the best of three on held-out images.) Draws of the labels differ by more than the methods
# do, so compare within a column, and don't expect wonders from images without labels.
#
# ## Is the penalty a prior?
#
# Suppose that codes had Laplace's density, $p(\mathbf h) \propto \prod_j e^{-\kappa |h_j|}$. Then $-\log p$ is
# $\kappa$ times the L1 norm, up to a constant, and minimising the loss looks like finding the most probable code. As
# a guide to inventing penalties this is good; as Bayesian statistics it isn't, for three reasons [5]:
#
# - A prior is stated before the data are seen. It belongs to the parameters, as weight decay does. Here $\mathbf h =
#   f(\mathbf x)$ is *computed* from the data.
# - A Bayesian would average over all codes that fit. We take one, the best. Its zeros are a property of the *maximum*:
#   numbers drawn from Laplace's density are never zero.
# - A prior fixes a scale. Here nothing does: halve the code, double the decoder's weights, and the image is the same
#   for half of the price.

# %% tags=["aside"]
drawn = np.random.default_rng(seed).laplace(size=100_000)
print(f"zeros among numbers drawn from the prior: {np.mean(drawn == 0):.0%}")
decoder = sparse.layers[1]
half, doubled = 0.5 * codes["ReLU, L1"], 2 * decoder.kernel
same = tf.sigmoid(half @ doubled + decoder.bias)
print(f"half the price, largest change of a pixel: {np.abs(same - sparse(test)).max():.0e}")
for name in ("ReLU", "ReLU, L1"):
    lengths = np.linalg.norm(networks[name].layers[1].kernel, axis=1)
    print(f"{name:<10} mean length of a unit's part in the decoder: {lengths.mean():.2f}")

# %% [markdown]
# The network makes use of that: with the price, the parts in its decoder are twice as long. Where the strength is to
# mean something, fix the scale, for example by giving every part the length one.
#
# ## Where you stand
#
# This computes every number anew from your trained networks.

# %% tags=["check"]
check.report(sparse, by_split, mode)

# %% [markdown]
# ## Summary
#
# - A penalty on the code replaces the short code: the price is for how many parts an image uses.
# - L1 takes the same from every number and makes small ones exactly zero, if the activation can be zero. Count `== 0`.
# - Dead units flatter the share of zeros: count the living.
# - More price, more zeros, more error; strengths are chosen on held-out images.
# - Judge features in pairs, over several splits, and beside features that nobody trained.
# - The penalty looks like a prior, but it is on something that is computed from the data, and it has no scale.
#
# The next lesson keeps the code long and changes the task.
#
# ## References
#
# 1. B. Olshausen and D. Field (1996), *Emergence of simple-cell receptive field properties by learning a sparse code
#    for natural images*, Nature 381. [doi:10.1038/381607a0](https://doi.org/10.1038/381607a0)
# 2. R. Tibshirani (1996), *Regression shrinkage and selection via the lasso*, Journal of the Royal Statistical Society
#    B 58. [doi:10.1111/j.2517-6161.1996.tb02080.x](https://doi.org/10.1111/j.2517-6161.1996.tb02080.x)
# 3. X. Glorot, A. Bordes and Y. Bengio (2011), *Deep sparse rectifier neural networks*, AISTATS.
#    [proceedings.mlr.press/v15/glorot11a](https://proceedings.mlr.press/v15/glorot11a.html)
# 4. A. Coates, A. Ng and H. Lee (2011), *An analysis of single-layer networks in unsupervised feature learning*,
#    AISTATS. [proceedings.mlr.press/v15/coates11a](https://proceedings.mlr.press/v15/coates11a.html)
# 5. I. Goodfellow, Y. Bengio and A. Courville (2016), *Deep Learning*, chapter 14, MIT Press.
#    [deeplearningbook.org](https://www.deeplearningbook.org/contents/autoencoders.html)
