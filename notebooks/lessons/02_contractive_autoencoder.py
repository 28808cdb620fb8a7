# %% [markdown]
# # 2 &nbsp; Regularised and contractive autoencoders
#
# A short code forces an autoencoder to find out what images have in common. What if the code is *long*, with more
# numbers than the image has pixels? Then nothing forces the network: it may hand its input through. The way out is a
# price. We add to the loss what we don't want: here, a code that moves when its image moves a little.
#
# **After this lesson you can**
#
# - show that an overcomplete autoencoder also copies what is no digit;
# - derive the Jacobian of a sigmoid layer, and make its norm a penalty: the **contractive** autoencoder;
# - check a formula against automatic differentiation;
# - tell what a penalty itself brings from what any shrinking would bring, with a matched control;
# - measure how well a code withstands noise, and explain it with singular values.
#
# You need lesson 1 and partial derivatives. Write your predictions down before you run what they are about.

# %% tags=["parameters"]
mode = "fast"  # "fast": 8 x 8 digits, a minute on two cores; "full": MNIST, for a GPU
seed = 0  # of the random numbers; another seed is another experiment

# %%
import keras
import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf
from davide_course import data, penalties, plots, probe
from davide_course.checks import lesson02 as check
from davide_course.prepare import prepare
from davide_course.training import train as minimise
from keras.layers import Dense

prepare(seed)
images = data.load_images(mode)
train, test = images.train, images.test
pixels, units = train.shape[1], 2 * train.shape[1]
epochs = 200 if mode == "fast" else 20  # MNIST has forty times the images
print(f"{images.source}: {len(train)} to train, {len(test)} to test, {pixels} pixels, codes of {units} numbers")

# %% [markdown]
# ## A code longer than the image
#
# The network has one layer each way: $\mathbf h = \sigma(W^{\mathsf T}\mathbf x + \mathbf b)$ with the sigmoid
# $\sigma(a) = 1/(1+e^{-a})$, and a decoder of the same form. With two numbers of code per pixel it is
# **overcomplete**. The loss is the error plus a **penalty** $\Omega$ with the strength $\lambda$:
#
# $$L = \big\langle\, (\mathbf x - g(f(\mathbf x)))^2 \,\big\rangle + \lambda\, \Omega .$$
#
# `minimise` is lesson 1's training loop, faster: Adam, batches, a learning rate that falls along a cosine.


# %%
def learn(penalty=None, strength=0.0, on=train):
    """Return an autoencoder that minimises the error plus `strength` times `penalty(encoder, codes)`."""
    keras.utils.set_random_seed(seed)
    encoder, decoder = Dense(units, "sigmoid"), Dense(pixels, "sigmoid")
    model = keras.Sequential([keras.Input((pixels,)), encoder, decoder])

    def loss(x):
        codes = encoder(x)
        price = penalty(encoder, codes) if penalty else 0.0
        return tf.reduce_mean((decoder(codes) - x) ** 2) + strength * price

    minimise(loss, model.trainable_variables, [on], epochs=epochs, learning_rate=0.01, seed=seed)
    return model


def error(model, originals):
    """Return the mean squared error over images and pixels."""
    return float(np.mean((model(originals).numpy() - originals) ** 2))


# %% [markdown]
# **Prediction 1.** We train without a penalty on digits. Then we lay two test digits on top of each other: nobody would
# call the result a digit. What is the network's error on test digits, and on such overlays? (PCA with 8 numbers has
# 0.025 on digits and 0.044 on overlays.)

# %%
guess = {"error on test digits": None, "error on overlays": None}

# %%
plain = learn()
overlays = np.maximum(test, test[::-1])
check.prediction(guess, [error(plain, test), error(plain, overlays)])
pictures = {"digits": test[:12], "given back": plain(test[:12])}
pictures |= {"overlays": overlays[:12], "given back ": plain(overlays[:12])}
plots.gallery(pictures, images.shape)

# %% [markdown]
# The digits come back nearly perfect, and so do the overlays, of which it has never seen one: the network has learnt
# less about digits than about copying ink. Its code is a rewriting of the pixels, and it inherits their weakness: where
# the pixels move, the code moves along.
#
# ## How far does a code move?
#
# For a small change $\boldsymbol\varepsilon$ of the image, the code changes by $J\boldsymbol\varepsilon$, where $J$ is
# the **Jacobian**, $J_{ji} = \partial h_j / \partial x_i$. If the components of $\boldsymbol\varepsilon$ are
# independent with variance $s^2$, then
#
# $$\big\langle \lVert f(\mathbf x + \boldsymbol\varepsilon) - f(\mathbf x) \rVert^2 \big\rangle \approx
#   \big\langle \lVert J \boldsymbol\varepsilon \rVert^2 \big\rangle = s^2 \sum_{ij} J_{ji}^2
#   = s^2\, \lVert J \rVert_F^2 ,$$
#
# so the squared **Frobenius norm** of $J$ is what small noise does to the code. The contractive autoencoder [1] takes
# its mean over the images as penalty. For a sigmoid layer it needs no automatic differentiation: $\sigma' = \sigma
# (1 - \sigma)$, so $J_{ji} = h_j (1 - h_j)\, W_{ij}$, and
#
# $$\lVert J \rVert_F^2 = \sum_j \big(h_j (1 - h_j)\big)^2 \sum_i W_{ij}^2 .$$
#
# ### Exercise 1
# Write it, in TensorFlow's operations (`tf.reduce_sum`, `tf.square`), since it has to be differentiated in training.


# %% tags=["solution"]
def squared_jacobian(codes, weights):
    """Return the squared norm of the Jacobian of each image.

    `codes` has the shape images x units, `weights` the shape pixels x units.
    """
    slopes = codes * (1 - codes)
    return tf.reduce_sum(slopes**2 * tf.reduce_sum(tf.square(weights), axis=0), axis=1)


# %% tags=["check"]
check.squared_jacobian(squared_jacobian)

# %% [markdown]
# From here on we use `penalties.squared_jacobian`, which is the same. A formula that was derived by hand is compared
# with automatic differentiation before it is trusted:

# %%
some = tf.constant(test[:5])
encoder = plain.layers[0]
with tf.GradientTape() as tape:
    tape.watch(some)
    codes = encoder(some)
by_autodiff = tf.reduce_sum(tape.batch_jacobian(codes, some) ** 2, axis=(1, 2)).numpy()
by_formula = penalties.squared_jacobian(codes, encoder.kernel).numpy()
for row in zip(by_formula, by_autodiff, by_formula / by_autodiff - 1, strict=True):
    print("formula {:8.3f}   autodiff {:8.3f}   relative difference {:8.1e}".format(*row))

# %% [markdown]
# ## Three networks
#
# A smaller Jacobian alone proves little. There is a cheaper way to shrink $J$: **weight decay**, the penalty
# $\sum W_{ij}^2$, which knows nothing of images. So we train a **control**, with weight decay that is strong enough to
# give about the same Jacobian. Only what the contractive network has beyond the control is due to the slopes
# $h_j(1-h_j)$: a unit may keep large weights if it is saturated where the images are.
#
# **Prediction 2.** Which factor lies between the Jacobians of the plain and the contractive network (mean
# $\lVert J \rVert_F$ over test images)? What does that cost in error?


# %%
def contraction(encoder, codes):
    """Return the mean squared Jacobian."""
    return tf.reduce_mean(penalties.squared_jacobian(codes, encoder.kernel))


def decay(encoder, _codes):
    """Return the sum of the squared weights, whatever the images are."""
    return tf.reduce_sum(encoder.kernel**2)


guess = {"Jacobian, plain / contractive": None, "error, contractive / plain": None}

# %%
decayed = learn(decay, 1e-5)
contractive = learn(contraction, 2e-4)
networks = {"plain": plain, "weight decay": decayed, "contractive": contractive}


def size_of_jacobian(model):
    """Return the mean norm of the Jacobian over the test images."""
    encoder = model.layers[0]
    return float(np.mean(np.sqrt(penalties.squared_jacobian(encoder(test), encoder.kernel))))


sizes = {name: size_of_jacobian(model) for name, model in networks.items()}
costs = {name: error(model, test) for name, model in networks.items()}
ratios = [sizes["plain"] / sizes["contractive"], costs["contractive"] / costs["plain"]]
check.prediction(guess, ratios)

# %% tags=["aside"]
plots.bars(sizes, "mean norm of the Jacobian, test images", 2)
plots.bars(costs, "error on the test images")

# %% [markdown]
# Both penalties shrink the Jacobian to less than a third, and both cost about as much error. The control is matched.
# Does the first-order formula describe noise that isn't small? Measured against $s \lVert J \rVert_F$:

# %% tags=["aside"]
spreads = np.array([0.02, 0.05, 0.1, 0.2, 0.3, 0.5])
_, axis = plt.subplots(figsize=(6.5, 3.8))
for colour, (name, model) in zip(plots.COLOURS, networks.items(), strict=False):
    moved = []
    for spread in spreads:
        noisy = test + probe.gaussian_noise(test, spread, 1)[0]
        moved.append(np.sqrt(np.mean(np.sum((model.layers[0](noisy) - model.layers[0](test)) ** 2, axis=1))))
    encoder = model.layers[0]
    root = np.sqrt(np.mean(penalties.squared_jacobian(encoder(test), encoder.kernel)))
    axis.plot(spreads, moved, "o", color=colour, label=name)
    axis.plot(spreads, spreads * root, color=colour, linewidth=1)
axis.set(xlabel="standard deviation of the noise", ylabel="root mean square shift of the code")
axis.set_title("measured (dots) and first order (lines)")
axis.legend()
plt.show()

# %% [markdown]
# Up to a noise of 0.1 the line is good. For more, the sigmoids of the plain network saturate and its code moves less
# than the line says.
#
# ## Which code can still be read?
#
# A code that never moves is easy: make it constant. What counts is whether it can still be *read* when the image is
# noisy. So we train logistic regression on codes of clean training images, and let it name the digits from codes of
# **noisy** test images, with noise of standard deviation 0.3. One draw of the noise is a matter of luck; we average
# over ten.
#
# ### Exercise 2
# Write the score. `classify` takes codes and returns labels, `encode` takes images and returns codes, and `noises` has
# the shape draws x images x pixels.


# %% tags=["solution"]
def noisy_accuracy(classify, encode, images, labels, noises):
    """Return the share of noisy images that are named rightly, over all images and draws."""
    rights = [classify(encode(images + noise)) == labels for noise in noises]
    return float(np.mean(rights))


# %% tags=["check"]
check.noisy_accuracy(noisy_accuracy)

# %% [markdown]
# **Prediction 3.** The accuracy on noisy test images, with codes of the three networks, and with the pixels
# themselves?

# %%
guess = {"plain": None, "weight decay": None, "contractive": None, "pixels": None}

# %%
noises = probe.gaussian_noise(test, 0.3, draws=10)
reader = probe.fit_probe(train, images.train_labels, scaled=False)
by_pixels = probe.noisy_accuracy(reader.predict, np.asarray, test, images.test_labels, noises)
shares = []
for model in networks.values():
    reader = probe.fit_probe(model.layers[0](train), images.train_labels)
    shares.append(probe.noisy_accuracy(reader.predict, model.layers[0], test, images.test_labels, noises))
shares.append(by_pixels)
check.prediction(guess, shares)
plots.bars(dict(zip(guess, shares, strict=True)), "accuracy on noisy test images", 3)
plots.gallery({"test images": test[:12], "with noise": np.clip(test + noises[0], 0, 1)[:12]}, images.shape)

# %% [markdown]
# Contraction gains several points over the plain code. Most of the gain comes with weight decay as well; the rest,
# about one point, is what the penalty adds. And be fair: logistic regression on the *pixels* withstands this noise
# better than any of the three codes. It is linear, so noise of many pixels averages out, while a sigmoid answers to
# noise as it does to ink. A long code with a penalty isn't better by itself. Lesson 4 trains against noise.
#
# ## Where does it contract?
#
# The singular values of $J$ tell along how many directions of the image the code moves, and how far. Averaged over
# test images:


# %% tags=["aside"]
def jacobians(model, originals):
    """Return the Jacobian at each image: images x units x pixels."""
    encoder = model.layers[0]
    codes = encoder(originals).numpy()
    return (codes * (1 - codes))[:, :, None] * encoder.kernel.numpy().T[None]


some = test[: 60 if mode == "fast" else 4]  # MNIST's Jacobians are a hundred times larger
_, (left, right) = plt.subplots(1, 2, figsize=(9.5, 3.4))
for name, model in networks.items():
    values = np.linalg.svd(jacobians(model, some), compute_uv=False).mean(axis=0)
    left.semilogy(range(1, pixels + 1), np.maximum(values, 1e-3), label=name)
    right.plot(range(1, pixels + 1), values / values[0], label=name)
left.set(title="singular values of the Jacobian", xlabel="number", ylim=(1e-3, None))
right.set(title="divided by the largest", xlabel="number")
right.legend()
plt.show()

# %% [markdown]
# Every direction is contracted, and those beyond number 35 most: there, noise of the image no longer reaches the code.
# What is left are the directions that the error needs, because along them real digits differ from each other. The
# leading right singular vectors at an image approximate the **tangent** of the surface near which digits lie [1, 2]:

# %% tags=["aside"]
directions = {}
for index in range(3):
    vectors = np.linalg.svd(jacobians(contractive, test[index : index + 1])[0])[2]
    directions[f"at test image {index + 1}"] = vectors[:8]
plots.gallery({"test images": test[:3]}, images.shape)
plots.gallery(directions, images.shape, signed=True)

# %% [markdown]
# They differ from image to image, and pair red with blue: ink that is added here and taken away there, as when a stroke
# moves or bends. At the rim, where digits have no ink, there is nothing: noise there is ignored.
#
# ## How strong should the penalty be?
#
# Whoever tries strengths on the test images and keeps the best has used the test images to train. So $\lambda$ was
# chosen on images *held out* from the training set, and this is how:

# %% tags=["aside"]
kept, held = train[: len(train) * 4 // 5], train[len(train) * 4 // 5 :]
kept_labels, held_labels = np.split(images.train_labels, [len(kept)])
held_noises = probe.gaussian_noise(held, 0.3, draws=10, seed=1)
strengths = [1e-6, 1e-5, 1e-4, 1e-3]
held_errors, held_shares = [], []
for strength in strengths:
    model = learn(contraction, strength, on=kept)
    reader = probe.fit_probe(model.layers[0](kept), kept_labels)
    held_errors.append(error(model, held))
    held_shares.append(probe.noisy_accuracy(reader.predict, model.layers[0], held, held_labels, held_noises))

# %% tags=["aside"]
_, (left, right) = plt.subplots(1, 2, figsize=(9.5, 3.2))
left.loglog(strengths, held_errors, "o-")
left.axhline(0.003, color="0.5", linestyle=":")
left.set(title="error, held-out images", xlabel="strength of the penalty", ylim=(1e-3, 1e-2))
right.semilogx(strengths, held_shares, "o-", color=plots.COLOURS[1])
right.set(title="accuracy, held-out images with noise", xlabel="strength of the penalty")
plt.show()

# %% [markdown]
# The price rises all the way, the gain soon stops. With $2\cdot 10^{-4}$ the error stays below 0.003 (dotted), where
# we had set the limit.
#
# ## Where you stand
#
# This computes every number anew from your trained networks.

# %% tags=["check"]
check.report(plain, decayed, contractive, mode)

# %% [markdown]
# ## Summary
#
# - An overcomplete autoencoder without a penalty learns to copy; its small error is no merit.
# - $\lVert J \rVert_F^2$ is what small noise does to the code. For a sigmoid layer it has a closed form, checked
#   against automatic differentiation.
# - As a penalty it contracts the code, most along directions in which digits hardly vary.
# - A matched control shows which part of a gain is the penalty's own: weight decay gives most of it.
# - Strengths are chosen on held-out images, and the pixels themselves are the yardstick that one forgets.
#
# The next lesson keeps the code long and makes most of its numbers zero.
#
# ## References
#
# 1. S. Rifai, P. Vincent, X. Muller, X. Glorot and Y. Bengio (2011), *Contractive auto-encoders: explicit invariance
#    during feature extraction*, ICML. [icml.cc/2011/papers/455_icmlpaper.pdf](https://icml.cc/2011/papers/455_icmlpaper.pdf)
# 2. G. Alain and Y. Bengio (2014), *What regularized auto-encoders learn from the data-generating distribution*,
#    Journal of Machine Learning Research 15. [arXiv:1211.4246](https://arxiv.org/abs/1211.4246)
# 3. A. Krogh and J. Hertz (1992), *A simple weight decay can improve generalization*, NeurIPS 4.
#    [proceedings.neurips.cc](https://proceedings.neurips.cc/paper/1991/hash/8eefcfdf5990e441f0fb6f3fad709e21-Abstract.html)
# 4. I. Goodfellow, Y. Bengio and A. Courville (2016), *Deep Learning*, chapter 14, MIT Press.
#    [deeplearningbook.org](https://www.deeplearningbook.org/contents/autoencoders.html)
