# %% [markdown]
# # 5 &nbsp; Deep or shallow, and how to start
#
# Lesson 1 beat PCA with hidden layers. So more layers are better? For twenty years they were worse: deep networks
# simply didn't learn. In 2006 a trick made them, **greedy layer-wise pre-training**, and deep learning had begun.
# Today hardly anybody uses it. In this lesson you watch a deep autoencoder fail, find out why, cure it as in 2006, and
# then see what replaced the cure.
#
# **After this lesson you can**
#
# - say what a deep network can do that a shallow one can't, and measure whether it does;
# - follow a signal forward and a gradient backward through a network, and see where they die;
# - pre-train a stack of autoencoders layer by layer, and fine-tune it;
# - say what initialisation and activation have to do with it, and why pre-training of this kind went out of use;
# - use what was learnt without labels where labels are few.
#
# You need what an autoencoder is (lesson 1). Write your predictions down before you run what they are about.

# %% tags=["parameters"]
mode = "fast"  # "fast": 8 x 8 digits, a minute on two cores; "full": MNIST, for a GPU
seed = 0  # of the random numbers; another seed is another experiment

# %%
import keras
import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf
from davide_course import data, plots
from davide_course.checks import lesson05 as check
from davide_course.prepare import prepare
from davide_course.training import train as minimise
from keras.initializers import VarianceScaling
from keras.layers import Dense
from sklearn.linear_model import LogisticRegression

prepare(seed)

# %%
images = data.load_images(mode)
train, test = images.train, images.test
print(f"{images.source}: {len(train)} images for training, {len(test)} for the test")

# %% [markdown]
# ## Why deep at all?
#
# One hidden layer that is wide enough can approximate any continuous function [1]. But *wide enough* can be very wide:
# there are functions that a deep network computes with a few units a layer, and a shallow one only with exponentially
# many [2]. Each layer composes what the layer before has found: strokes from pixels, loops from strokes.
#
# Our deep autoencoder goes from 64 pixels through **256, 128, 64** to a code of **16** numbers, and back through the
# same sizes: eight layers. Its activation is the one of the last century, the sigmoid
#
# $$\sigma(x) = \frac{1}{1 + e^{-x}}, \qquad \mathbf h_{l+1} = \sigma(W_l \mathbf h_l + \mathbf b_l) .$$

# %%
sizes = (256, 128, 64, 16)
batch = 64 if mode == "fast" else 512
share = 1 if mode == "fast" else 0.1  # of the epochs: MNIST has forty times the images


def stack(sizes, activation="sigmoid", gain=1.0):
    """Return the layers to the code and the layers back. Their random weights are `gain` times Glorot's."""
    keras.utils.set_random_seed(seed)
    how = {"scale": gain**2, "mode": "fan_avg", "distribution": "uniform"}
    start = [VarianceScaling(**how, seed=seed + number) for number in range(2 * len(sizes))]
    down = [Dense(size, activation, kernel_initializer=start.pop()) for size in sizes]
    up = [Dense(size, activation, kernel_initializer=start.pop()) for size in sizes[-2::-1]]
    up.append(Dense(train.shape[1], "sigmoid", kernel_initializer=start.pop()))
    keras.Sequential([keras.Input((train.shape[1],)), *down, *up])  # gives each layer its weights
    return down, up


# %%
def fit(layers, inputs, epochs, learning_rate=0.004):
    """Train layers, one after the other, to give back their inputs; return the loss of each epoch."""
    model = keras.Sequential(layers)
    weights = [weight for layer in layers for weight in layer.trainable_variables]

    def loss(some):
        return tf.reduce_mean(tf.square(model(some) - some))

    how = {"epochs": max(1, int(share * epochs)), "learning_rate": learning_rate, "batch": batch, "seed": seed}
    return minimise(loss, weights, [inputs], **how)


def error(layers):
    """Return the mean squared error on the test images."""
    return float(np.mean((keras.Sequential(layers)(test) - test) ** 2))


# %% [markdown]
# **Prediction 1.** Three autoencoders with a code of 16 numbers, each trained for 240 epochs: the deep one, a shallow
# one with no hidden layer (64-16-64), and "the mean image", which doesn't look at its input at all. What are their
# errors on the test images? For comparison: with 8 numbers, PCA has 0.025.

# %%
guess = {"mean image": None, "shallow": None, "deep": None}

# %%
shallow = stack((16,))
fit([*shallow[0], *shallow[1]], train, 240)
deep = stack(sizes)
deep_losses = fit([*deep[0], *deep[1]], train, 240)
flat = float(np.mean((train.mean(axis=0) - test) ** 2))
errors = [flat, error([*shallow[0], *shallow[1]]), error([*deep[0], *deep[1]])]
check.prediction(guess, errors)
plots.bars(dict(zip(guess, errors, strict=True)), "error on the test images, 240 epochs from a random start")

# %% [markdown]
# The deep network could do everything that the shallow one does and more, and it is far behind: it has learnt a few
# coarse shapes. It is not over-fitted either: it is as bad on the training images, as its learning curve below shows.
# Why?
#
# ## Where the signal dies
#
# Follow the images forward. A layer that gives nearly the same numbers for every image has forgotten which image it
# was. The spread over the images tells:
#
# $$s_l = \big\langle\, \text{standard deviation over the images of unit } i \text{ in layer } l \,\big\rangle_i .$$
#
# ### Exercise 1
# Write it. A layer is called like a function, `layer(numbers)`, and gives back one row per image. Mind that each layer
# works on what the layer before gives.


# %% tags=["solution"]
def spreads(layers, images):
    """Return, for each layer, the standard deviation over the images, averaged over the layer's units."""
    found = []
    for layer in layers:
        images = layer(images)
        found.append(float(np.std(images, axis=0).mean()))
    return found


# %% tags=["check"]
check.spreads(spreads)

# %% [markdown]
# And follow the gradient backward. By the chain rule, the gradient in layer $l$ is a product over all layers behind it,
#
# $$\frac{\partial L}{\partial \mathbf h_l} = \Big(\prod_{m \ge l} W_m^{\mathsf T}\, \sigma'(\cdot) \Big)
#   \frac{\partial L}{\partial \mathbf r}, \qquad \sigma' = \sigma (1 - \sigma) \le \tfrac14 .$$
#
# **Prediction 2.** In the untrained deep network: how many times smaller is the spread after eight layers than after
# the first? And the gradient with respect to the weights of the first layer, compared with that of the last?

# %%
guess = {"spread, first layer / last": None, "gradient, last layer / first": None}


# %%
def looks(layers):
    """Return the spread of each layer over the training images, and the size of the gradient of its weights."""
    numbers, forward = tf.constant(train), []
    with tf.GradientTape() as tape:
        for layer in layers:
            numbers = layer(numbers)
            forward.append(float(tf.reduce_mean(tf.math.reduce_std(numbers, axis=0))))
        loss = tf.reduce_mean(tf.square(numbers - train))
    gradients = tape.gradient(loss, [layer.kernel for layer in layers])
    return forward, [float(tf.sqrt(tf.reduce_mean(tf.square(one)))) for one in gradients]


starts = {"sigmoid, usual start": stack(sizes), "sigmoid, weights 4 times larger": stack(sizes, gain=4)}
starts["ELU, usual start"] = stack(sizes, "elu")
seen = {name: looks([*down, *up]) for name, (down, up) in starts.items()}
forward, backward = seen["sigmoid, usual start"]
check.prediction(guess, [forward[0] / forward[-1], backward[-1] / backward[0]])

# %% tags=["aside"]
_, axes = plt.subplots(1, 2, figsize=(9.5, 3.6))
for (name, values), marker in zip(seen.items(), "os^", strict=True):
    for axis, line in zip(axes, values, strict=True):
        axis.semilogy(range(1, len(line) + 1), line, marker + "-", label=name)
axes[0].set(title="forward: spread over the images", xlabel="layer")
axes[1].set(title="backward: size of the gradient", xlabel="layer")
axes[0].legend(fontsize=9)
plt.show()

# %% [markdown]
# With the usual start, every sigmoid shrinks what distinguishes the images, and at the end hardly a trace is left. What
# the decoder sees is nearly a constant, so the first that it learns is the mean image; and the gradient that would
# have to wake up the first layers shrinks on its way back as well. This is the **vanishing gradient** [3]. The other
# two curves will be of use later.
#
# ## The cure of 2006: one layer at a time
#
# A shallow autoencoder learns well. So build the deep one from shallow ones [4, 5]:
#
# 1. Train the outermost pair, 64-256-64, to copy images. Compute the codes of all images.
# 2. Train the next pair, 256-128-256, to copy these *codes*; compute its codes. And so on to the innermost pair.
# 3. Put all pairs together, outermost outside. This is the start for the usual training of the whole, the
#    **fine-tuning**.
#
# It is *greedy*, since each pair is trained as if the next ones didn't exist. To be fair, the epochs are counted: 30
# for each of four pairs and 120 for the fine-tuning are 240 in all, as many as before (and the pairs are cheaper).
#
# **Prediction 3.** The error after the four pairs are put together, before fine-tuning? And after it?

# %%
guess = {"put together": None, "fine-tuned": None}

# %%
greedy = stack(sizes)
codes = tf.constant(train)
for encoder, decoder in zip(greedy[0], reversed(greedy[1]), strict=True):
    fit([encoder, decoder], codes, 30)
    codes = encoder(codes)
put_together = error([*greedy[0], *greedy[1]])
greedy_losses = fit([*greedy[0], *greedy[1]], train, 120)
check.prediction(guess, [put_together, error([*greedy[0], *greedy[1]])])

# %% tags=["aside"]
_, axis = plt.subplots(figsize=(7, 3.4))
axis.semilogy(np.linspace(0, 240, len(deep_losses)), deep_losses, label="random start")
axis.semilogy(
    np.linspace(120, 240, len(greedy_losses)), greedy_losses, label="fine-tuning after 4 x 30 epochs for the pairs"
)
axis.axvspan(0, 120, color="0.93")
axis.set(xlabel="epochs, those for the pairs included", ylabel="error on the training images")
axis.legend()
plt.show()
some = test[:12]
rows = {"test images": some, "random start": keras.Sequential([*deep[0], *deep[1]])(some)}
rows["pre-trained"] = keras.Sequential([*greedy[0], *greedy[1]])(some)
plots.gallery(rows, images.shape)

# %% [markdown]
# Same network, same number of epochs, same optimiser; only the start differs. From a random start the network gives the
# mean image for many epochs, and then gets no further than a few grey shapes that it serves for all digits. The
# pre-trained one gives the digits.
#
# ## What replaced it
#
# So was it the pre-training? Or just *any* start at which the signal is alive? Look at the figure above again: with
# weights four times larger the sigmoids have a spread to work with. Or take another activation, ELU [6], which is $x$
# for $x > 0$ and $e^x - 1$ below: its slope is near 1 where the signal is, not a quarter. Neither costs anything.
#
# **Prediction 4.** The errors of the deep network after 240 epochs from a random start, if the weights start four times
# larger? And with ELU?

# %%
guess = {"sigmoid, weights 4 times larger": None, "ELU": None}

# %%
gained = stack(sizes, gain=4)
fit([*gained[0], *gained[1]], train, 240, learning_rate=0.002)
modern = stack(sizes, "elu")
fit([*modern[0], *modern[1]], train, 240, learning_rate=0.002)
later = [error([*down, *up]) for down, up in (gained, modern)]
check.prediction(guess, later)

# %% tags=["aside"]
rows = {"sigmoid, random start": errors[2], "sigmoid, pre-trained": error([*greedy[0], *greedy[1]])}
rows |= dict(zip(guess, later, strict=True))
plots.bars(rows, "error on the test images, 240 epochs")

# %% [markdown]
# Both learn without any pre-training, and nothing is left of the gap that it closed. What mattered was a start
# at which signal and gradient get through; pre-training was one way to find it, a start with the right spread is a
# cheaper one [7].
#
# ## Deep against shallow, fairly
#
# Now that the deep network works, ask the question of the title. Give a network with *one* hidden layer as many
# parameters (728 units, 64-728-16-728-64), the same activation and the same epochs.

# %% tags=["aside"]
wide = stack((728, 16), "elu")
fit([*wide[0], *wide[1]], train, 240, learning_rate=0.002)
for name, (down, up) in {"one hidden layer": wide, "three hidden layers": modern}.items():
    weights = sum(weight.shape.num_elements() for layer in [*down, *up] for weight in layer.weights)
    seen_error = float(np.mean((keras.Sequential([*down, *up])(train) - train) ** 2))
    print(f"{name:<20} {weights} parameters, error {error([*down, *up]):.4f} (training images {seen_error:.4f})")

# %% [markdown]
# The deep network copies the training images better, and on new images the two are equal. Depth pays where images are
# large and many; for 1437 images of 64 pixels it needn't. *Deeper* is not *better* by itself: compare, with equal
# means, on images that neither has seen.
#
# ## Few labels, many images
#
# What is the use of pre-training, then? It needs no labels. Suppose somebody has labelled only 100 of the images. A
# classifier that starts from the encoder has seen them all.
#
# ### Exercise 2
# Make that start. `keras.models.clone_model(network)` returns a network with the same layers; `get_weights` and
# `set_weights` are methods of a network. The copy keeps the autoencoder out of harm's way when the classifier is
# trained.


# %% tags=["solution"]
def classifier(encoder, classes):
    """Return a network: a copy of the trained `encoder` with its weights, then a new softmax layer."""
    copy = keras.models.clone_model(encoder)
    copy.set_weights(encoder.get_weights())
    return keras.Sequential([copy, Dense(classes, "softmax")])


# %% tags=["check"]
check.classifier(classifier)

# %% [markdown]
# **Prediction 5.** The share of right answers on the test images, after training with 100 labels: the sigmoid network
# with its usual random start, the same pre-trained, and logistic regression on the pixels?

# %%
guess = {"random start": None, "pre-trained": None, "logistic regression on pixels": None}

# %% tags=["aside"]
few = np.random.default_rng(seed).choice(len(train), 100, replace=False)
some, labels = train[few], images.train_labels[few]


def with_labels(layers):
    """Return the share of right answers after training copies of these layers, and a softmax, with the few labels."""
    start = keras.Sequential([keras.Input((train.shape[1],)), *layers])
    model = keras.models.clone_model(start)
    model.set_weights(start.get_weights())
    model = keras.Sequential([model, Dense(10, "softmax")])
    loss = keras.losses.SparseCategoricalCrossentropy()
    how = {"epochs": 200, "learning_rate": 0.002, "batch": 50, "seed": seed}
    minimise(lambda x, y: loss(y, model(x)), model.trainable_variables, [some, labels], **how)
    return float(np.mean(np.argmax(model(test), axis=1) == images.test_labels))


by_pixels = LogisticRegression(max_iter=1000).fit(some, labels).score(test, images.test_labels)
right = [with_labels(stack(sizes)[0]), with_labels(greedy[0]), by_pixels]
check.prediction(guess, right)
plots.bars(dict(zip(guess, right, strict=True)), "share of right answers, 100 labels", 3)

# %% [markdown]
# The same network with the same 100 labels: what it has learnt from images without labels makes up for much of what the
# labels don't say. Still, put the simple method beside it: logistic regression does as well here. Starting from what
# was learnt without labels is of use where the simple method fails, with images that are large and varied.
#
# ## Where you stand
#
# This computes every number anew from your trained networks.

# %% tags=["check"]
check.report(*(keras.Sequential([*down, *up]) for down, up in (deep, greedy, gained, modern)), mode)

# %% [markdown]
# ## Summary
#
# - Depth composes features, and a deep network is no better than its start: with sigmoids and the usual random weights
#   the signal and the gradient die on their way.
# - Greedy pre-training gives a start at which they live: same network, same epochs, a fraction of the error.
# - So do larger initial weights, or an activation that doesn't squash. That is why greedy pre-training went out of use.
# - Compare deep and shallow with equal parameters and equal effort, on images that neither has seen.
# - What is learnt without labels helps where labels are few. That idea is more alive than ever.
#
# ## References
#
# 1. K. Hornik, M. Stinchcombe and H. White (1989), *Multilayer feedforward networks are universal approximators*,
#    Neural Networks 2. [doi:10.1016/0893-6080(89)90020-8](https://doi.org/10.1016/0893-6080%2889%2990020-8)
# 2. M. Telgarsky (2016), *Benefits of depth in neural networks*, Conference on Learning Theory.
#    [arXiv:1602.04485](https://arxiv.org/abs/1602.04485)
# 3. Y. Bengio, P. Simard and P. Frasconi (1994), *Learning long-term dependencies with gradient descent is difficult*,
#    IEEE Transactions on Neural Networks 5. [doi:10.1109/72.279181](https://doi.org/10.1109/72.279181)
# 4. G. Hinton and R. Salakhutdinov (2006), *Reducing the dimensionality of data with neural networks*, Science 313.
#    [doi:10.1126/science.1127647](https://doi.org/10.1126/science.1127647)
# 5. Y. Bengio, P. Lamblin, D. Popovici and H. Larochelle (2007), *Greedy layer-wise training of deep networks*,
#    Advances in Neural Information Processing Systems 19. [proceedings.neurips.cc](https://proceedings.neurips.cc/paper/2006/hash/5da713a690c067105aeb2fae32403405-Abstract.html)
# 6. D. Clevert, T. Unterthiner and S. Hochreiter (2016), *Fast and accurate deep network learning by exponential linear
#    units (ELUs)*, International Conference on Learning Representations.
#    [arXiv:1511.07289](https://arxiv.org/abs/1511.07289)
# 7. X. Glorot and Y. Bengio (2010), *Understanding the difficulty of training deep feedforward neural networks*,
#    International Conference on Artificial Intelligence and Statistics.
#    [proceedings.mlr.press/v9/glorot10a](https://proceedings.mlr.press/v9/glorot10a.html)
