# %% [markdown]
# # 8 &nbsp; Generative adversarial networks: objective and algorithm
#
# How do you teach a network to draw digits, if you can't say in a formula what makes a good one? Let a second network
# be the critic, and train both: one forges, the other tells forged from real, and each gets better because of the
# other. In this lesson you write down that game, solve it where it can be solved, play it where it can't, see it go
# wrong without any sign of it in the loss, and cure it.
#
# **After this lesson you can**
#
# - write the objective of a generative adversarial network (GAN), and say what the best discriminator and the value of
#   the game are;
# - train one, step by step, and say why the generator's loss is usually the non-saturating one;
# - recognise mode collapse, and say why the loss doesn't show it;
# - judge samples by numbers, with a floor, a simple baseline and a test for copies;
# - use two things that calm the game: a gradient penalty and averaged weights.
#
# You need gradients and batches (lesson 1). Write your predictions down before you run what they are about.

# %% tags=["parameters"]
mode = "fast"  # "fast": 8 x 8 digits, a minute on two cores; "full": MNIST, for a GPU
seed = 0  # of the random numbers; another seed is another experiment

# %%
import keras
import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf
from davide_course import data, plots
from davide_course.checks import lesson08 as check
from davide_course.judge import Judge
from davide_course.prepare import prepare
from davide_course.ring import CENTRES, ring, shares
from keras import optimizers
from keras.layers import Dense, LeakyReLU
from scipy.special import xlogy

prepare(seed)

# %% [markdown]
# ## The game
#
# The **generator** $G$ turns random numbers $\mathbf z$, here from a normal distribution, into samples $G(\mathbf z)$.
# Their distribution is $p_g$; nobody can write it down, but everybody can draw from it. The **discriminator** $D$ looks
# at a sample and returns the probability that it is real, that is, drawn from the data's distribution $p_d$. They play
#
# $$\min_G \max_D \; V(D, G), \qquad
#   V = \big\langle \log D(\mathbf x) \big\rangle_{\mathbf x \sim p_d}
#     + \big\langle \log\,(1 - D(G(\mathbf z))) \big\rangle_{\mathbf z} .$$
#
# **The best discriminator.** For a fixed $G$, write $V$ as an integral, and look at one place $\mathbf x$:
# $p_d \log D + p_g \log(1 - D)$ is largest where its derivative $p_d / D - p_g / (1 - D)$ vanishes, so
#
# $$D^\ast(\mathbf x) = \frac{p_d(\mathbf x)}{p_d(\mathbf x) + p_g(\mathbf x)}, \qquad
#   V(D^\ast, G) = -\log 4 + 2\,\mathrm{JS}(p_d, p_g) .$$
#
# The Jensen-Shannon divergence JS is never negative, and zero only if $p_g = p_d$. So against the best discriminator
# the generator can do no better than to copy the distribution; then $D^\ast = 1/2$ everywhere, and the value of the
# game is $-\log 4 \approx -1.386$ [1].
#
# ### Exercise 1
# Two distributions over the same bins are given as arrays of probabilities, each with sum one. Write $D^\ast$ in every
# bin, and $V(D^\ast, G)$. Some bins may be empty in one distribution (then $0 \log 0 = 0$, for which there is
# `xlogy(x, y)`), but never in both.


# %% tags=["solution"]
def optimum(p_data, p_model):
    """Return the best discriminator in each bin, and the value of the game when it plays."""
    best = p_data / (p_data + p_model)
    return best, np.sum(xlogy(p_data, best) + xlogy(p_model, 1 - best))


# %% tags=["check"]
check.optimum(optimum)

# %% [markdown]
# Does a trained network find $D^\ast$? Let the data be normal with mean $-1$ and the model normal with mean $1$. The
# network returns a **logit** $\ell$, and $D = \sigma(\ell) = 1 / (1 + e^{-\ell})$; with $\operatorname{softplus}(u) =
# \log(1 + e^u)$, the two logarithms are $-\operatorname{softplus}(-\ell)$ and $-\operatorname{softplus}(\ell)$, which
# never overflow. The discriminator's loss is $-V$.


# %%
def loss_of_discriminator(discriminator, real, fake):
    """Return -V, from a batch of real samples and one of the generator's."""
    on_real = tf.reduce_mean(tf.nn.softplus(-discriminator(real)))
    return on_real + tf.reduce_mean(tf.nn.softplus(discriminator(fake)))


def network(inputs, hidden, outputs, last=None):
    """Return a network with hidden layers of these sizes."""
    layers = [layer for size in hidden for layer in (Dense(size), LeakyReLU(0.2))]
    return keras.Sequential([keras.Input((inputs,)), *layers, Dense(outputs, last)])


# %% [markdown]
# ## The algorithm
#
# Each step moves $D$ once, then $G$ once; when one moves, the other stands still:
#
# 1. draw a batch of real samples and a batch of $\mathbf z$; **$D$ walks down the gradient of $-V$**;
# 2. draw another batch of $\mathbf z$; **$G$ walks down the gradient of its own loss**, through $D$.
#
# ### Exercise 2
# Write the first half. A `tf.GradientTape()` records how a loss comes about, `tape.gradient(loss, variables)` returns
# the gradients, and `optimiser.apply(gradients, variables)` takes the step. Return the loss before the step.


# %% tags=["solution"]
def improve_discriminator(discriminator, optimiser, real, fake):
    """Let the discriminator take one step down its loss, and return the loss."""
    with tf.GradientTape() as tape:
        loss = loss_of_discriminator(discriminator, real, fake)
    slopes = tape.gradient(loss, discriminator.trainable_variables)
    optimiser.apply(slopes, discriminator.trainable_variables)
    return loss


# %% tags=["check"]
check.improve_discriminator(improve_discriminator, loss_of_discriminator)

# %% [markdown]
# **Which loss for the generator?** In the game as written it minimises $\log(1 - D(G))$. Early on, $D$ is sure that a
# sample is forged, and the slope of that loss with respect to the logit is $-D \approx 0$: the worst forger learns
# least. The **non-saturating** loss $-\log D(G)$ has the slope $-(1 - D)$ instead: the same direction, but largest
# where the sample is worst. The fixed point is the same [2].

# %% tags=["aside"]
logits = np.linspace(-6, 6, 200)
belief = 1 / (1 + np.exp(-logits))
_, axis = plt.subplots(figsize=(6.5, 3.2))
axis.plot(logits, belief, label=r"minimax: $\log(1 - D)$")
axis.plot(logits, 1 - belief, label=r"non-saturating: $-\log D$")
axis.set(xlabel="logit of a generated sample (left: seen as forged)", ylabel="size of the slope")
axis.legend()
plt.show()

# %% [markdown]
# Here is the whole game, compiled by TensorFlow into one loop, with two additions that we switch on later: the
# **gradient penalty** on $D$ (`penalty`) and **averaged weights** of $G$ (`memory`). Read it once from top to bottom.


# %%
def steepness(discriminator, real):
    """Return the mean of the squared gradient of the logit with respect to a real sample."""
    with tf.GradientTape() as tape:
        tape.watch(real)
        logits = discriminator(real)
    return tf.reduce_mean(tf.reduce_sum(tape.gradient(logits, real) ** 2, axis=1))


def adam_for(rate, steps, betas=(0.5, 0.999)):
    """Return Adam with a short memory (the opponent moves), its rate shrinking to 5 % along a cosine."""
    schedule = optimizers.schedules.CosineDecay(rate, steps, alpha=0.05)
    return optimizers.Adam(schedule, *betas)


# %%
def play(generator, discriminator, real, steps, rates, *, batch=128, turns=1, penalty=0.0, memory=0.0, **adam):
    """Play the game; return the generator with averaged weights, and D's losses. `turns`: steps of G for one of D."""
    g, d = generator.trainable_variables, discriminator.trainable_variables
    adams = adam_for(rates[0], steps * turns, **adam), adam_for(rates[1], steps, **adam)
    adams[0].build(g)
    adams[1].build(d)
    average = keras.models.clone_model(generator)
    latent, examples = generator.input_shape[1], tf.constant(real)

    def forged(*key):
        return generator(tf.random.stateless_normal((batch, latent), key))

    def move_discriminator(step):
        rows = tf.random.stateless_uniform((batch,), [seed, step], 0, len(real), tf.int32)
        some, fake = tf.gather(examples, rows), forged(seed + 1000, step)
        with tf.GradientTape() as tape:
            game = loss_of_discriminator(discriminator, some, fake)
            loss = game + penalty / 2 * steepness(discriminator, some) if penalty else game
        adams[1].apply(tape.gradient(loss, d))
        return game

    def move_generator(turn):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.nn.softplus(-discriminator(forged(seed + 2000, turn))))
        adams[0].apply(tape.gradient(loss, g))
        for slow, fast in zip(average.trainable_variables, g, strict=True):
            slow.assign(memory * slow + (1 - memory) * fast)

    @tf.function
    def loop():
        losses = tf.TensorArray(tf.float32, steps)
        for step in tf.range(steps):
            losses = losses.write(step, move_discriminator(step))
            for turn in tf.range(turns):
                move_generator(step * turns + turn)
        return losses.stack()

    return average, loop().numpy()


# %% [markdown]
# ## A case whose answer is known
#
# **Prediction 1.** A discriminator that has learnt to tell the normal distribution around $-1$ from the one around $1$
# (both of spread 1): what is its loss, and what would it be if the two were equal?

# %%
guess = {"loss, as far apart as here": None, "loss if they are equal": None}

# %%
keras.utils.set_random_seed(seed)
random = np.random.default_rng(seed)
left, right = (random.normal(middle, 1, (20000, 1)).astype("float32") for middle in (-1, 1))
known = network(1, (32,), 1)
adam = adam_for(0.01, 200)
adam.build(known.trainable_variables)


@tf.function
def learn():
    """Let the discriminator take 200 steps on the same large batches."""
    for _ in tf.range(200):
        with tf.GradientTape() as tape:
            loss = loss_of_discriminator(known, left[:4000], right[:4000])
        adam.apply(tape.gradient(loss, known.trainable_variables))


learn()
check.prediction(guess, [float(loss_of_discriminator(known, left, right)), np.log(4)])

# %% tags=["aside"]
places = np.linspace(-4, 4, 161)
densities = [np.exp(-((places - middle) ** 2) / 2) for middle in (-1, 1)]
_, axis = plt.subplots(figsize=(6.5, 3.4))
axis.fill_between(places, densities[0], alpha=0.25, label="$p_d$ (not to scale)")
axis.fill_between(places, densities[1], alpha=0.25, label="$p_g$ (not to scale)")
axis.plot(places, densities[0] / sum(densities), "k", label=r"$D^\ast = p_d / (p_d + p_g)$")
learnt = tf.sigmoid(known(tf.constant(places[:, None], tf.float32))).numpy()
axis.plot(places, learnt, "--", color=plots.COLOURS[5], label="trained network")
axis.set(xlabel="x", ylabel="probability of being real")
axis.legend(loc="center left", bbox_to_anchor=(1, 0.5))
plt.show()

# %% [markdown]
# The network has found $D^\ast$ from samples alone, without a density; at the rims, where there are no samples, it may
# say what it likes.
#
# ## Eight modes on a ring
#
# Now a whole game, in the plane, where we see everything: the data are eight narrow normal distributions on a ring [3].
# A sample is *good* if it lies within three standard deviations of a centre; of real points 98.9 % do. We play twice.
# In the second game the discriminator is ten times slower, and the generator takes five steps for each of its steps.
#
# **Prediction 2.** How many of the eight modes does each generator serve (with at least 1 % of its samples)? What is
# the discriminator's loss at the end of each game?

# %%
guess = {
    "even game, modes": None,
    "uneven game, modes": None,
    "even game, loss of D": None,
    "uneven game, loss of D": None,
}

# %%
points = ring(20000, seed)


def play_on_ring(rates, steps, turns):
    """Return the generator after a game on the ring, and D's losses."""
    keras.utils.set_random_seed(seed)
    forger, critic = network(2, (128, 128), 2), network(2, (128, 128), 1)
    return forger, play(forger, critic, points, steps, rates, turns=turns)[1]


even, losses_even = play_on_ring((1e-3, 1e-3), steps=3000, turns=1)
uneven, losses_uneven = play_on_ring((1e-3, 1e-4), steps=600, turns=5)

# %%
noise = tf.random.stateless_normal((4000, 2), [seed, 1])
drawn = {"data": points[:4000], "even game": even(noise).numpy(), "uneven game": uneven(noise).numpy()}
modes = [int(np.sum(shares(drawn[name]) > 0.01)) for name in ("even game", "uneven game")]
ends = [losses[-100:].mean() for losses in (losses_even, losses_uneven)]
check.prediction(guess, [*modes, *ends])

# %% tags=["aside"]
_, axes = plt.subplots(1, 4, figsize=(13, 3.3))
for axis, (name, cloud) in zip(axes, drawn.items(), strict=False):
    axis.scatter(*cloud.T, s=4, alpha=0.3, linewidths=0)
    axis.scatter(*CENTRES.T, s=60, facecolors="none", edgecolors="0.4")
    rim = max(2.7, 1.05 * np.abs(cloud).max())
    axis.set(title=f"{name}: {shares(cloud).sum():.0%} good", xlim=(-rim, rim), ylim=(-rim, rim), aspect="equal")
for name, losses in {"even": losses_even, "uneven": losses_uneven}.items():
    axes[3].plot(np.linspace(0, 1, len(losses) // 20), losses.reshape(-1, 20).mean(axis=1), label=name)
axes[3].axhline(np.log(4), color="0.5", linestyle=":")
axes[3].set(title="loss of D (dotted: log 4)", xlabel="share of the game", ylim=(0, 2))
axes[3].legend()
plt.show()

# %% [markdown]
# The uneven game has **collapsed**: its generator rushes to wherever the slow discriminator was last fooled, all
# samples at once, and moves on when that place is closed. Yet the loss of its discriminator is as near to $\log 4$ as
# a perfect game's would be. The loss says how well $D$ does against $G$, not how near $p_g$ is to $p_d$: **a GAN is
# judged by its samples.** And mind the difference between collapsed and merely slow: an even game with small learning
# rates also lacks modes at first, but gains them with patience.
#
# ## Digits
#
# With 64 pixels nobody sees the distribution any more, so we need a judge: a classifier that was trained on the
# training images. It looks at generated images through its 32 features, of which we compare mean and covariance with
# those of the test images, by the **Frechet distance** between normal distributions
#
# $$d^2 = \lVert \mathbf m_1 - \mathbf m_2 \rVert^2
#   + \operatorname{tr}\big( C_1 + C_2 - 2\, (C_1 C_2)^{1/2} \big) .$$
#
# With the Inception network as the classifier this is the well-known FID [4]. Real images against real images don't
# give zero, since there are finitely many: the distance of the training images is the **floor**, and we count in
# floors.

# %%
images = data.load_images(mode)
train = images.train
judge = Judge(images)
named = (judge.classes(images.test).argmax(axis=1) == images.test_labels).mean()
print(images.source)
print(f"The judge names {named:.1%} of the test images rightly. Floor: {judge.floor:.2f}")

# %% [markdown]
# Two cures for a restless game. **The gradient penalty R1** [5] adds to $D$'s loss
#
# $$\tfrac{\gamma}{2} \big\langle \lVert \nabla_{\mathbf x}\, \ell(\mathbf x) \rVert^2 \big\rangle_{\mathbf x
#   \sim p_d} ,$$
#
# so that a discriminator that is steep around real images pays for it. At the fixed point it costs nothing, since there
# $D$ is flat; near it, it damps the circling of the two players. And it keeps $D$ from learning the training images by
# heart, as spikes. **Averaged weights**: each step of $G$ is a noisy answer to a moving opponent; the average
# $\bar\theta \leftarrow \mu \bar\theta + (1 - \mu)\, \theta$ over the last few hundred steps is quieter [6].
#
# **Prediction 3.** The Frechet distance in floors: with both, with the penalty alone, and with neither?

# %%
guess = {"penalty and average": None, "penalty alone": None, "neither": None}
latent = 16


def draws_of(generator, count=8):
    """Return draws from a generator, each of as many images as there are for training (at most 10,000)."""
    keys = [(777, draw) for draw in range(count)]
    return [generator(tf.random.stateless_normal((judge.draw_size, latent), key)).numpy() for key in keys]


def play_with_digits(penalty):
    """Return the generator after a game with digits, and the one with averaged weights."""
    keras.utils.set_random_seed(seed)
    pixels = train.shape[1]
    forger, critic = network(latent, (128, 128), pixels, "sigmoid"), network(pixels, (128, 128), 1)
    how = {"batch": 256, "penalty": penalty, "memory": 0.995, "betas": (0.0, 0.99)}
    return forger, play(forger, critic, train, 4000, (4e-3, 4e-3), **how)[0]


# %%
last, calm = play_with_digits(penalty=0.4)
wild, _ = play_with_digits(penalty=0.0)
verdicts = [judge.verdict(draws_of(generator)) for generator in (calm, last, wild)]
check.prediction(guess, [verdict.distance for verdict in verdicts])

# %% tags=["aside"]
rows = {"test images": images.test, "penalty and average": draws_of(calm, 1)[0], "neither": draws_of(wild, 1)[0]}
plots.gallery({name: some[:12] for name, some in rows.items()}, images.shape)

# %% [markdown]
# ## Is that good?
#
# Numbers need something beside them. A humbling baseline: one normal distribution of the pixels per class, with the
# mean and covariance of the training images (it even knows the labels). It sees no strokes at all. And a yardstick:
# as many *real* images, drawn at random from the training images with putting back, as a generator draws.

# %% tags=["aside"]
random = np.random.default_rng(seed)
names, counts = np.unique(images.train_labels, return_counts=True)
groups = [train[images.train_labels == name] for name in names]
normal = [random.multivariate_normal(one.mean(0), np.cov(one.T), len(one), method="eigh") for one in groups]
simple = judge.distance(np.concatenate(normal).clip(0, 1).astype("float32"))
again = [judge.distance(random.choice(train, judge.draw_size)) for _ in range(8)]
bars = {
    "training images (floor)": 1.0,
    "penalty and average, 8 draws": verdicts[0].distance,
    "training images, 1 draw": np.mean(again),
    "penalty and average, 1 draw": verdicts[0].single,
    "penalty alone, 8 draws": verdicts[1].distance,
    "a normal per class": simple,
    "neither, 8 draws": verdicts[2].distance,
}
plots.bars(bars, "Frechet distance to the test images, in floors", 2)

# %% tags=["aside"]
best = verdicts[0]
print(f"one draw of {judge.draw_size} from the generator: {best.single:.2f} floors, spread {best.spread:.2f}")
print(f"one draw of {judge.draw_size} from the training set: {np.mean(again):.2f} floors, spread {np.std(again):.2f}")
print(f"mean distance to the nearest training image: {best.novelty:.2f} of that of a test image (copies: 0)")
share = np.bincount(judge.classes(np.concatenate(draws_of(calm))).argmax(axis=1), minlength=10)
plots.bars({f"digit {name}": count / share.sum() for name, count in enumerate(share)}, "share of the samples", 3)

# %% [markdown]
# Three lessons on judging. **One draw is noisy**: a draw of independent images has a few more of one digit and a few
# less of another, while training and test images were split so that the shares agree. So even real images, drawn anew,
# are beyond one floor. We therefore judge eight draws together, and show single ones beside them; eight others, as the
# report below takes them, still differ by a tenth or two. **Copies would
# win**: the training images themselves reach the floor, so the distance to the nearest training image belongs to the
# report. **All classes** have to appear; the judge's confidence says whether they look like one.
#
# And one on the cures: here the penalty does nearly all of it. Averaging adds a tenth or two, and not more, since the
# learning rate has shrunk to a twentieth by the end, which quiets the last steps as well.
#
# Width of the layers, learning rate, penalty, memory and the number of steps were chosen on images held out from the
# training images; the test images were not asked.
#
# ## Where you stand
#
# This computes every number anew from your generators. Compare the class histogram with your neighbour's, who took
# another seed: what is noise, and what does the generator really prefer?

# %% tags=["check"]
check.report(even, uneven, calm, wild, mode)

# %% [markdown]
# ## Summary
#
# - A GAN is a game: $D$ estimates $p_d / (p_d + p_g)$, $G$ learns from its slope. At the optimum $p_g = p_d$, $D = 1/2$
#   and the value is $-\log 4$.
# - One step: $D$ down $-V$, then $G$ down $-\log D(G)$, which doesn't saturate where the samples are worst.
# - The loss doesn't show how good the samples are: a collapsed game has the loss of a perfect one. Count modes.
# - A penalty on the slope of $D$ at real samples and averaged weights of $G$ calm the game.
# - Judge with a floor, a simple baseline, several draws and a test for copies.
#
# ## References
#
# 1. I. Goodfellow et al. (2014), *Generative adversarial nets*, NeurIPS.
#    [arXiv:1406.2661](https://arxiv.org/abs/1406.2661)
# 2. I. Goodfellow (2016), *NIPS 2016 tutorial: generative adversarial networks*.
#    [arXiv:1701.00160](https://arxiv.org/abs/1701.00160)
# 3. L. Metz, B. Poole, D. Pfau and J. Sohl-Dickstein (2017), *Unrolled generative adversarial networks*, ICLR: the
#    ring.
#    [arXiv:1611.02163](https://arxiv.org/abs/1611.02163)
# 4. M. Heusel et al. (2017), *GANs trained by a two time-scale update rule converge to a local Nash equilibrium*,
#    NeurIPS. [arXiv:1706.08500](https://arxiv.org/abs/1706.08500)
# 5. L. Mescheder, A. Geiger and S. Nowozin (2018), *Which training methods for GANs do actually converge?*, ICML.
#    [arXiv:1801.04406](https://arxiv.org/abs/1801.04406)
# 6. Y. Yazici et al. (2019), *The unusual effectiveness of averaging in GAN training*, ICLR.
#    [arXiv:1806.04498](https://arxiv.org/abs/1806.04498)
