# %% [markdown]
# # 7 &nbsp; Variational autoencoders
#
# The decoder of an autoencoder turns any code into an image. So draw a code at random, and you have a machine that
# invents digits? Try it, and much is rubbish: nobody told the network what codes *between* the known ones should mean.
# A **variational autoencoder** (VAE) is an autoencoder whose code space has been put in order, by a principle: it
# maximises a bound on the probability of the data.
#
# **After this lesson you can**
#
# - show why the code space of a plain autoencoder can't generate;
# - derive the evidence lower bound (ELBO), and say what its two terms want;
# - use the reparametrisation trick, and say why it is needed;
# - avoid the most common mistake, a mean where a sum belongs, and recognise it by its symptom;
# - sample, interpolate, and judge a generator by a number in nats, not by looking at its best pictures.
#
# You need what an autoencoder is (lesson 1), and the normal distribution. Write your predictions down before you run
# what they are about.

# %% tags=["parameters"]
mode = "fast"  # "fast": 8 x 8 digits, a minute on two cores; "full": MNIST, for a GPU
seed = 0  # of the random numbers; another seed is another experiment

# %%
import keras
import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf
from davide_course import data, plots
from davide_course.checks import lesson07 as check
from davide_course.prepare import prepare
from davide_course.training import train as minimise
from keras.layers import Dense
from scipy.special import gammaln
from sklearn.linear_model import LogisticRegression

prepare(seed)

# %%
images = data.load_images(mode)
train, test = images.train, images.test
pixels = train.shape[1]
print(f"{images.source}: {len(train)} images for training, {len(test)} for the test, {pixels} pixels each")

# %% [markdown]
# ## A probability for each pixel
#
# A generator is judged by the probability that it gives to images it has not seen. So the decoder must output a
# *distribution*. The pixels of our digits are counts $c$ from 0 to 16 (each pixel is a block of 4 x 4 black or white
# points), and the natural distribution of a count is the binomial one: with the probability of ink $p$
#
# $$\log p(c) = \log \binom{16}{c} + c \log p + (16 - c) \log (1 - p) .$$
#
# The decoder gives $a = \log \frac{p}{1-p}$ for each pixel, any real number. Then $c \log p + (16 - c) \log(1 - p) =
# c\,a - 16 \log(1 + e^a)$. The unit of a log-probability with the natural logarithm is the **nat**.

# %%
ways = tf.constant([gammaln(17) - gammaln(c + 1) - gammaln(17 - c) for c in range(17)], tf.float32)


def log_likelihoods(some, outputs):
    """Return the log-probability of each pixel of some images, in nats; `outputs` are the decoder's."""
    counts = tf.round(16 * some)
    return tf.gather(ways, tf.cast(counts, tf.int32)) + counts * outputs - 16 * tf.nn.softplus(outputs)


# %% [markdown]
# ## A plain autoencoder can't generate
#
# First a plain autoencoder with a code of 16 numbers, trained to give its own input a high probability.

# %%
code_size, hidden = 16, 256
how = {"batch": 64 if mode == "fast" else 512, "learning_rate": 0.005, "seed": seed}
epochs = 200 if mode == "fast" else 30


def network(inputs, outputs):
    """Return a network with one hidden layer."""
    return keras.Sequential([keras.Input((inputs,)), Dense(hidden, "gelu"), Dense(outputs)])


def pictures(decoder, codes):
    """Return the images that a decoder makes of codes: the probability of ink in each pixel."""
    return tf.sigmoid(decoder(codes))


# %%
keras.utils.set_random_seed(seed)
plain = network(pixels, code_size), network(code_size, pixels)


def plain_loss(some):
    """Return the mean negative log-likelihood of the images' own copies."""
    return -tf.reduce_mean(tf.reduce_sum(log_likelihoods(some, plain[1](plain[0](some))), axis=1))


weights = [*plain[0].trainable_variables, *plain[1].trainable_variables]
losses = minimise(plain_loss, weights, [train], epochs=epochs // 4, **how)
print(f"loss on the training images: {losses[0]:.0f} nats in the first epoch, {losses[-1]:.0f} in the last")

# %% [markdown]
# **Prediction 1.** Take codes at random, with the same mean and spread in each of the 16 numbers as the codes of the
# training images. What will the decoder show? Draw one on paper.

# %%
codes = plain[0](train).numpy()
drawn = np.random.default_rng(seed).normal(codes.mean(axis=0), codes.std(axis=0), (12, code_size))
rows = {"test images": test[:12], "copies": pictures(plain[1], plain[0](test[:12]))}
plots.gallery(rows | {"random codes": pictures(plain[1], drawn)}, images.shape)

# %% [markdown]
# The copies are fine, and many of the inventions are no digits. The codes of real images fill a small and crooked part
# of their space, and the random ones often miss it.
#
# ## The principle: maximise the probability of the data
#
# Turn the matter round. *Define* how an image comes about: draw a code $z$ from the standard normal distribution
# $p(z)$, then an image from $p(x | z)$, the decoder's distribution. Then train it so that the real
# images become probable. But $p(x) = \int p(x | z)\, p(z)\, dz$ can't be computed: nearly all codes
# contribute nothing to a given image. So an encoder shall say which codes are worth looking at: a normal distribution
# $q(z | x)$ with mean $\mu$ and standard deviation $\sigma$ for each image. With Jensen's inequality
#
# $$\log p(x) = \log \Big\langle \frac{p(x | z)\, p(z)}{q(z | x)} \Big\rangle_{q}
#   \;\ge\; \underbrace{\big\langle \log p(x | z) \big\rangle_{q}}_{\text{rebuild the image}}
#   - \underbrace{\mathrm{KL}\big(q(z | x)\, \|\, p(z)\big)}_{\text{stay near the prior}}
#   = \mathrm{ELBO} .$$
#
# The first term wants precise codes, far apart. The second, the **Kullback-Leibler divergence**, is the price: the
# number of nats that a code tells about its image. It pulls all codes into one standard normal cloud without holes.
#
# ### Exercise 1
# For one code number with mean $\mu$ and variance $\sigma^2$ the divergence from the standard normal distribution is
#
# $$\mathrm{KL} = \tfrac12 \left( \mu^2 + \sigma^2 - \log \sigma^2 - 1 \right) .$$
#
# Write it. The encoder gives $\log \sigma^2$, which may be any number.


# %% tags=["solution"]
def divergence(mean, log_variance):
    """Return the KL divergence of each code number from the standard normal distribution, in nats."""
    return 0.5 * (mean**2 + np.exp(log_variance) - log_variance - 1)


# %% tags=["check"]
check.divergence(divergence)

# %% [markdown]
# ### Exercise 2
# Put the ELBO together, in nats per image. Think about each of the two directions of each array: sum or mean?


# %% tags=["solution"]
def elbo(by_pixel, by_number):
    """Return the ELBO in nats per image.

    `by_pixel` has the log-likelihoods, images x pixels; `by_number` the divergences, images x code numbers.
    """
    rebuilt = np.sum(by_pixel, axis=1)
    price = np.sum(by_number, axis=1)
    return np.mean(rebuilt - price)


# %% tags=["check"]
check.elbo(elbo)

# %% [markdown]
# ## The reparametrisation trick
#
# The average over $q$ is estimated with one random code per image and step. But how does the loss depend on $\mu$ and
# $\sigma$, if the code is *drawn*? Draw something that doesn't depend on them, and compute the code from it [1, 2]:
#
# $$z = \mu + \sigma\, \varepsilon, \qquad \varepsilon \sim \mathcal N(0, 1) .$$
#
# Now $\partial z / \partial \mu = 1$ and $\partial z / \partial \sigma = \varepsilon$, and the gradient
# flows through the code as through any layer.
#
# A detail of the training: the price is switched on slowly, its weight $\beta$ rising from 0 to 1 [3]. Otherwise many
# code numbers give up at the start, when the decoder can't use them yet, and some never come back.

# %%
noise = tf.random.Generator.from_seed(seed)


def two_terms(encoder, decoder, some):
    """Return log-likelihoods by pixel and divergences by code number, with one random code per image."""
    mean, log_variance = tf.split(encoder(some), 2, axis=1)
    codes = mean + tf.exp(log_variance / 2) * noise.normal(tf.shape(mean))
    price = 0.5 * (mean**2 + tf.exp(log_variance) - log_variance - 1)
    return log_likelihoods(some, decoder(codes)), price


def variational(over_pixels=tf.reduce_sum):
    """Return a trained encoder and decoder; `over_pixels` says how the log-likelihoods of the pixels are combined."""
    keras.utils.set_random_seed(seed)
    encoder, decoder = network(pixels, 2 * code_size), network(code_size, pixels)
    beta = tf.Variable(0.0)

    def loss(some):
        by_pixel, by_number = two_terms(encoder, decoder, some)
        return tf.reduce_mean(beta * tf.reduce_sum(by_number, axis=1) - over_pixels(by_pixel, axis=1))

    weights = [*encoder.trainable_variables, *decoder.trainable_variables]
    warm = {"watch": lambda done: beta.assign(min(1.0, 2 * done / epochs))}
    losses = minimise(loss, weights, [train], epochs=epochs, **how, **warm)
    return encoder, decoder, losses


# %%
encoder, decoder, losses = variational()
print(f"loss on the training images in the last epoch: {losses[-1]:.1f} nats")

# %% [markdown]
# ## How good is it?
#
# The ELBO on the test images is a *lower bound* of the log-probability. A tighter one draws $K$ codes per image and
# averages inside the logarithm, the **importance-weighted bound** [4]:
#
# $$\log \frac1K \sum_{k=1}^{K} \frac{p(x | z_k)\, p(z_k)}{q(z_k | x)} ,
#   \qquad z_k \sim q(z | x) .$$
#
# As a yardstick, two models of *independent* pixels: each pixel binomial with its own mean over the training images,
# and each pixel with a whole histogram of its 17 possible counts.
#
# **Prediction 2.** The binomial model of independent pixels gives -254 nats per image. What do the histograms give, and
# what the VAE?

# %%
guess = {"histograms": None, "VAE, ELBO": None, "VAE, 64 codes": None}


# %%
def by_histograms():
    """Return the mean log-probability of the test images when each pixel has a histogram of its own."""
    counts, asked = (np.round(16 * part).astype(int) for part in (train, test))
    table = np.array([np.bincount(column, minlength=17) + 0.5 for column in counts.T])
    table = np.log(table / table.sum(axis=1, keepdims=True))
    return table[np.arange(pixels), asked].sum(axis=1).mean()


bound, tighter, active = check.judged(encoder, decoder, test)
check.prediction(guess, [by_histograms(), bound, tighter])

# %% [markdown]
# More than 15 nats above the histograms: a test image is over $e^{15}$, three million times as probable.
#
# Which code numbers are in use? One that is not has $\mu \approx 0$ for every image; it tells nothing and costs
# nothing.

# %% tags=["aside"]
means, log_variances = np.split(encoder(test).numpy(), 2, axis=1)
price = 0.5 * (means**2 + np.exp(log_variances) - log_variances - 1)
order = np.argsort(means.var(axis=0))[::-1]
_, (left, right) = plt.subplots(1, 2, figsize=(9.5, 3.2))
left.bar(range(1, code_size + 1), means.var(axis=0)[order])
left.axhline(0.01, color="0.5", linestyle=":")
left.set(title=f"{active:.0f} of {code_size} code numbers are active", xlabel="code number", yscale="log")
left.set(ylabel="variance of the means", xticks=range(1, code_size + 1, 3))
right.bar(range(1, code_size + 1), price.mean(axis=0)[order], color=plots.COLOURS[1])
right.set(title=f"divergence, {price.sum(axis=1).mean():.1f} nats in all", xlabel="code number", ylabel="nats")
right.set_xticks(range(1, code_size + 1, 3))
plt.show()

# %% [markdown]
# ## A mean where a sum belongs
#
# The most common mistake in a VAE is one word: the mean squared error, or the mean log-likelihood, *over the pixels*,
# as Keras computes it, with the divergence added in full. Then an image counts as much as one pixel.
#
# **Prediction 3.** With the mean over the pixels: how many nats does the code still tell about an image? Above it was
# tens of nats.

# %%
guess = {"divergence in nats": None}

# %%
collapsed, blind, losses = variational(over_pixels=tf.reduce_mean)
print(f"the loss falls: {losses[0]:.2f} in the first epoch, {losses[-1]:.2f} in the last")
by_pixel, by_number = two_terms(collapsed, blind, test)
check.prediction(guess, [float(tf.reduce_mean(tf.reduce_sum(by_number, axis=1)))])

# %% [markdown]
# This is **posterior collapse**: the price is 64 times too high, the encoder tells nothing, and the decoder draws the
# mean image whatever the code. The loss looks fine all the while. *Look at the divergence* in nats when you train a
# VAE.
#
# ## Inventing digits
#
# Codes from the standard normal distribution, as the definition says:

# %% tags=["aside"]
fresh = np.random.default_rng(seed).normal(size=(12, code_size)).astype(np.float32)
rows = {"test images": test[:12], "plain autoencoder": pictures(plain[1], drawn)}
rows |= {"mean over pixels": pictures(blind, fresh), "VAE": pictures(decoder, fresh)}
plots.gallery(rows, images.shape)

# %% [markdown]
# Many of the VAE's are digits, some lie between two. They are smoother than real ones: what is shown is the probability
# of ink. Don't judge a generator by "all ten digits occur". Here is the dullest of all, *one* normal distribution
# fitted to the pixels, and a classifier that says which digits it sees in a thousand inventions:

# %% tags=["aside"]
judge = LogisticRegression(max_iter=1000).fit(train[:2000], images.train_labels[:2000])
random = np.random.default_rng(seed)
dull = random.multivariate_normal(train.mean(axis=0), np.cov(train.T), 1000)
invented = pictures(decoder, random.normal(size=(1000, code_size)).astype(np.float32)).numpy()
for name, some in {"one normal distribution": dull, "VAE": invented}.items():
    print(f"{name:<25}{len(np.unique(judge.predict(some)))} of 10 digits occur")
plots.gallery({"one normal distribution": dull[:12], "VAE": invented[:12]}, images.shape)

# %% [markdown]
# Both have all ten. Nats on test images can't be talked into anything.
#
# ## Walking through the code space
#
# Since the cloud has no holes, a straight line between two codes passes over images that make sense. Between the
# *images*, it passes over double exposures.

# %% tags=["aside"]
first, last = (int(np.flatnonzero(images.test_labels == digit)[0]) for digit in (0, 1))
steps = np.linspace(0, 1, 12, dtype=np.float32)[:, None]
between_codes = (1 - steps) * means[first] + steps * means[last]
between_images = (1 - steps) * test[first] + steps * test[last]
plots.gallery({"between codes": pictures(decoder, between_codes), "between images": between_images}, images.shape)

# %% [markdown]
# Directions can have a meaning, too. Take the mean code of the training images with the most ink, minus that of those
# with the least: an **attribute direction**, found with an attribute of the images and no other training [5].

# %% tags=["aside"]
known = np.split(encoder(train).numpy(), 2, axis=1)[0]
ink = train.mean(axis=1)
heavy, light = ink >= np.quantile(ink, 0.8), ink <= np.quantile(ink, 0.2)
direction = known[heavy].mean(axis=0) - known[light].mean(axis=0)
rows = {}
for digit in (0, 3, 7):
    start = means[np.flatnonzero(images.test_labels == digit)[1]]
    rows[f"{digit}, less to more ink"] = pictures(decoder, start + np.linspace(-1.5, 1.5, 9)[:, None] * direction)
plots.gallery(rows, images.shape)
inks = [float(np.mean(row)) for row in (rows["3, less to more ink"][0], rows["3, less to more ink"][-1])]
print(f"mean ink of the 3: from {inks[0]:.2f} to {inks[1]:.2f}")

# %% [markdown]
# ## Where you stand
#
# This computes every number anew from your trained networks.

# %% tags=["check"]
check.report(encoder, decoder, mode)

# %% [markdown]
# ## Summary
#
# - The codes of a plain autoencoder leave holes that no decoder can fill with sense.
# - A VAE maximises the ELBO, a lower bound of the log-probability: rebuild the image, and pay for what the code tells.
# - $z = \mu + \sigma \varepsilon$ lets the gradient through a random draw.
# - Sums within an image, the mean over images. With a mean over the pixels the code collapses, and the loss doesn't
#   say.
# - Judge a generator by nats on images that it hasn't seen, and count its active code numbers.
#
# The next lesson generates without any probability: two networks play against each other.
#
# ## References
#
# 1. D. Kingma and M. Welling (2014), *Auto-encoding variational Bayes*, International Conference on Learning
#    Representations. [arXiv:1312.6114](https://arxiv.org/abs/1312.6114)
# 2. D. Rezende, S. Mohamed and D. Wierstra (2014), *Stochastic backpropagation and approximate inference in deep
#    generative models*, International Conference on Machine Learning.
#    [arXiv:1401.4082](https://arxiv.org/abs/1401.4082)
# 3. C. Sønderby, T. Raiko, L. Maaløe, S. Sønderby and O. Winther (2016), *Ladder variational autoencoders*, Advances in
#    Neural Information Processing Systems 29. [arXiv:1602.02282](https://arxiv.org/abs/1602.02282)
# 4. Y. Burda, R. Grosse and R. Salakhutdinov (2016), *Importance weighted autoencoders*, International Conference on
#    Learning Representations. [arXiv:1509.00519](https://arxiv.org/abs/1509.00519)
# 5. T. White (2016), *Sampling generative networks*. [arXiv:1609.04468](https://arxiv.org/abs/1609.04468)
