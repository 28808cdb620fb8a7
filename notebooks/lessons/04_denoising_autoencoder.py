# %% [markdown]
# # 4 &nbsp; Denoising autoencoders
#
# So far the network had to give back what it was given, and something in the network kept it from copying: a short
# code, or a penalty. Now we change the *task*. The network is given a spoilt image and has to return the clean one.
# Copying would return the damage; whoever wants to undo it has to know what images look like.
#
# **After this lesson you can**
#
# - train a denoising autoencoder, and say what its loss makes it compute: a mean over what the image may have been;
# - write the best *linear* filter, Wiener's, and measure in decibels what a network gains over it;
# - recognise the mistakes that make a network learn the noise;
# - see that the correction points to where the data are dense;
# - fill in missing pixels, and say what happens when the damage isn't the one of the training.
#
# You need lesson 1 and the Gaussian distribution. Write your predictions down before you run what they are about.

# %% tags=["parameters"]
mode = "fast"  # "fast": 8 x 8 digits, a minute on two cores; "full": MNIST, for a GPU
seed = 0  # of the random numbers; another seed is another experiment

# %%
import keras
import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf
from davide_course import data, denoising, plots
from davide_course.checks import lesson04 as check
from davide_course.prepare import prepare
from davide_course.training import train as minimise
from keras.layers import Dense
from sklearn.decomposition import PCA

prepare(seed)
images = data.load_images(mode)
train, test = images.train, images.test
pixels = train.shape[1]
spread = 0.5  # the standard deviation of the noise, where ink is 1 and paper 0

# %% [markdown]
# ## The damage
#
# Each pixel gets Gaussian noise, independent of all else. We score with the **peak signal-to-noise ratio** in decibels,
#
# $$\mathrm{PSNR} = 10 \log_{10} \frac{1}{\mathrm{MSE}},$$
#
# the mean squared error on a logarithmic scale: 3 dB more is half the error, 10 dB a tenth.


# %%
def psnr(restored, originals):
    """Return the peak signal-to-noise ratio in dB, for pixels between 0 and 1."""
    return float(-10 * np.log10(np.mean((np.asarray(restored) - originals) ** 2)))


noisy = denoising.corrupted(test, spread)
clipped = np.clip(noisy, 0, 1)
print(f"{images.source}: noisy {psnr(noisy, test):.2f} dB, clipped to [0, 1] {psnr(clipped, test):.2f} dB")
plots.gallery({"test images": test[:12], "with noise": clipped[:12]}, images.shape)

# %% [markdown]
# Clipping gains 3 dB by knowing one thing only: pixels lie between 0 and 1. Every method that knows more has to beat
# that, not the raw noise.
#
# ## The best linear filter
#
# Let the clean pixels have the mean $\boldsymbol\mu$ and the covariance $C$. The linear map with the smallest expected
# squared error, **Wiener's filter** [1], is
#
# $$\hat{\mathbf x} = \boldsymbol\mu + W (\tilde{\mathbf x} - \boldsymbol\mu), \qquad
#   W = C\, (C + s^2 I)^{-1} .$$
#
# In the axes of PCA it multiplies each component by $\lambda_i / (\lambda_i + s^2)$: keep a direction in which digits
# vary more than the noise, damp one in which the noise is all there is. If the images were Gaussian, nothing at all
# could do better.
#
# ### Exercise 1
# Write it. `np.cov(train.T)` is the covariance of the pixels.


# %% tags=["solution"]
def wiener(train, spread):
    """Return the mean image and Wiener's matrix (pixels x pixels) for noise of this spread."""
    covariance = np.cov(train.T)
    matrix = covariance @ np.linalg.inv(covariance + spread**2 * np.eye(len(covariance)))
    return train.mean(axis=0), matrix


# %% tags=["check"]
check.wiener(wiener)

# %% [markdown]
# ## Learn it from examples
#
# The **denoising autoencoder** [2] is lesson 1's with one change. A fresh corruption $\tilde{\mathbf x}$ of each image
# goes in, at every step, and the clean image is the target:
#
# $$L = \big\langle\, (\mathbf x - g(f(\tilde{\mathbf x})))^2 \,\big\rangle .$$
#
# Many clean images could have become the same $\tilde{\mathbf x}$. What is best under squared error is their mean, each
# weighted by how probable it is:
#
# $$g(f(\tilde{\mathbf x})) \;\to\; \mathbb E[\mathbf x \mid \tilde{\mathbf x}] .$$
#
# That is why restored images look soft: where the network can't know, it gives the mean of the possibilities. The code
# need not be short, since copying is no use.
#
# ### Exercise 2
# Write the loss of a batch. `model` and `corrupt` are functions of images.


# %% tags=["solution"]
def denoising_loss(model, images, corrupt):
    """Return the denoising loss of `images`, a number, in TensorFlow's operations."""
    target = images
    return tf.reduce_mean((model(corrupt(images)) - target) ** 2)


# %% tags=["check"]
check.denoising_loss(denoising_loss)

# %% [markdown]
# From here on we use `denoising.wiener` and `denoising.loss`, which are the same. The network is wide, 256-128-256
# units. This recipe wasn't searched for: it was the first that was tried, images held out from the training set spoke
# for it, and it stayed. Others may be better.

# %%
epochs = 150 if mode == "fast" else 20  # MNIST has forty times the images


def learn(corrupt):
    """Return an autoencoder that has learnt to undo a corruption."""
    keras.utils.set_random_seed(seed)
    hidden = [Dense(size, "relu") for size in (256, 128, 256)]
    model = keras.Sequential([keras.Input((pixels,)), *hidden, Dense(pixels, "sigmoid")])

    def loss(x):
        return denoising.loss(model, x, corrupt)

    minimise(loss, model.trainable_variables, [train], epochs=epochs, learning_rate=0.002, seed=seed)
    return model


def add_noise(x):
    """Return images with fresh Gaussian noise."""
    return x + spread * tf.random.normal(tf.shape(x))


# %% [markdown]
# **Prediction 1.** The PSNR in dB of PCA (go to the leading $k$ numbers and back), of Wiener's filter, of an
# autoencoder that was trained *without* noise, and of the denoising one? The noisy images have 6 dB, clipped ones 9.

# %%
guess = {"PCA": None, "Wiener": None, "trained without noise": None, "denoising": None}

# %%
mean, matrix = denoising.wiener(train, spread)
by_wiener = mean + (noisy - mean) @ matrix.T
flats = [PCA(size).fit(train) for size in range(4, 21, 2)]
by_pca = max((flat.inverse_transform(flat.transform(noisy)) for flat in flats), key=lambda one: psnr(one, test))
copier, denoiser = learn(tf.identity), learn(add_noise)
restored = {"PCA": by_pca, "Wiener": by_wiener, "trained without noise": copier(noisy), "denoising": denoiser(noisy)}
scores = {name: psnr(one, test) for name, one in restored.items()}
check.prediction(guess, list(scores.values()))

# %% tags=["aside"]
plots.bars({"clipped": psnr(clipped, test)} | scores, "PSNR on the test images (dB)", 2)
rows = {"test images": test[:12], "with noise": clipped[:12]}
plots.gallery(rows | {name: np.clip(one[:12], 0, 1) for name, one in restored.items()}, images.shape)

# %% [markdown]
# (PCA got the best $k$ for the test images, a favour that nobody else got.) The network that never saw noise copies
# much of it, and is worse than PCA. The denoising one is better than the best linear filter by about one
# decibel, a fifth of the error. It can be: digits aren't Gaussian, and an answer that is not linear may decide *which*
# digit this is before it fills in the strokes.
#
# ## Where does the correction point?
#
# For Gaussian noise there is an exact relation, with $p$ the density of the *noisy* data [3, 4]:
#
# $$\mathbb E[\mathbf x \mid \tilde{\mathbf x}] - \tilde{\mathbf x} = s^2\, \nabla \log p(\tilde{\mathbf x}) .$$
#
# A denoiser climbs the density. In two dimensions that can be drawn: points on a circle, noise of 0.3, and a small
# network. With 500 known points the mean over what they may have been is a sum, so we can compare.

# %% tags=["aside"]
angle = np.random.default_rng(seed).uniform(0, 2 * np.pi, 500)
circle = np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)
keras.utils.set_random_seed(seed)
field = keras.Sequential([keras.Input((2,)), Dense(64, "gelu"), Dense(64, "gelu"), Dense(2)])


def field_loss(x):
    """Return the denoising loss in the plane."""
    return denoising.loss(field, x, lambda clean: clean + 0.3 * tf.random.normal(tf.shape(clean)))


field_losses = minimise(field_loss, field.trainable_variables, [circle], epochs=200, learning_rate=0.01, seed=seed)

# %% tags=["aside"]
grid = np.stack(np.meshgrid(*2 * [np.linspace(-1.5, 1.5, 13)]), axis=-1).reshape(-1, 2).astype(np.float32)
weights = np.exp(-((grid[:, None] - circle[None]) ** 2).sum(axis=2) / (2 * 0.3**2))
exact = weights @ circle / weights.sum(axis=1, keepdims=True) - grid
_, axes = plt.subplots(1, 2, figsize=(9.5, 4.6), sharey=True)
for axis, (title, arrows) in zip(axes, {"network": field(grid) - grid, "exact": exact}.items(), strict=True):
    axis.scatter(*circle.T, s=4, color=plots.COLOURS[1])
    axis.quiver(*grid.T, *np.asarray(arrows).T, color=plots.COLOURS[0], angles="xy", scale_units="xy", scale=2)
    axis.set(title=title, aspect="equal", xlim=(-1.8, 1.8), ylim=(-1.8, 1.8))
plt.show()
off = np.linalg.norm(field(grid) - grid - exact, axis=1).mean() / np.linalg.norm(exact, axis=1).mean()
print(f"mean difference of the arrows: {off:.0%} of their mean length (drawn at half their length)")

# %% [markdown]
# The arrows point to the circle from both sides and vanish close to it. Nobody showed the network a density.
# Generative diffusion models are built on this [5]: they denoise in many small steps, beginning with noise alone.
#
# ## Missing pixels
#
# Corruption may be anything that can be simulated. **Masking** hides each pixel with the probability 1/2 and puts a
# zero in its place: a dead channel, a lost packet. The network isn't told *which* pixels are hidden; paper is zero,
# too.
#
# **Prediction 2.** The PSNR with half of the pixels hidden: as they are; with the gaps filled from the mean image;
# with the best linear guess from the pixels that are seen; from a network trained on such gaps? And from the same
# network, if we are told afterwards which pixels were seen, and keep those?


# %%
def hide(x):
    """Return images of which a random half of the pixels is set to zero."""
    return x * tf.cast(tf.random.uniform(tf.shape(x)) < 0.5, tf.float32)


guess = {"as they are": None, "mean image": None, "linear guess": None, "network": None, "network, told": None}

# %%
seen = denoising.seen_pixels(test, 0.5)
gaps = test * seen
filler = learn(hide)
some = slice(0, 360)  # the linear guess solves equations for each image, slow for a whole MNIST
by_mean, by_guess = np.where(seen > 0, test, train.mean(axis=0)), denoising.fill(train, gaps[some], seen[some])
filled = [psnr(gaps, test), psnr(by_mean, test), psnr(by_guess, test[some]), psnr(filler(gaps), test)]
filled.append(psnr(np.where(seen > 0, test, filler(gaps)), test))
check.prediction(guess, filled)

# %% tags=["aside"]
plots.bars(dict(zip(guess, filled, strict=True)), "PSNR with half the pixels hidden (dB)", 2)
rows = {"test images": test[:12], "half hidden": gaps[:12], "linear guess": by_guess[:12], "network": filler(gaps[:12])}
plots.gallery(rows, images.shape)

# %% [markdown]
# The network isn't told which pixels are hidden, and still gains nearly 2 dB over the mean image. The linear guess
# is better, but it was told. If the network's answer is used for the hidden pixels alone, the two are equal: with half
# of such small images in view, the pixels nearby say nearly all there is to say. The bars also show a habit worth
# keeping: before one method is called better, check that both were given the same.
#
# ## The wrong damage
#
# **Prediction 3.** Each network meets the other's damage. Which of the four pairs fail?

# %%
guess = {"noise -> noise": None, "noise -> gaps": None, "gaps -> noise": None, "gaps -> gaps": None}

# %%
crossed = [psnr(model(damaged), test) for model in (denoiser, filler) for damaged in (noisy, gaps)]
check.prediction(guess, crossed)

# %% tags=["aside"]
spreads = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 1.0])
levels = [denoising.corrupted(test, one) for one in spreads]
matched = [denoising.wiener(train, one) for one in spreads]
linear = [psnr(mean + (given - mean) @ matrix.T, test) for given, (mean, matrix) in zip(levels, matched, strict=True)]
_, axis = plt.subplots(figsize=(6.5, 3.8))
axis.plot(spreads, [psnr(denoiser(given), test) for given in levels], "o-", label="network, trained for 0.5")
axis.plot(spreads, linear, "s-", label="Wiener's filter, told the noise")
axis.axvline(spread, color="0.5", linestyle=":")
axis.set(xlabel="standard deviation of the noise", ylabel="PSNR on the test images (dB)")
axis.legend()
plt.show()

# %% [markdown]
# A network undoes the damage that it was trained on. Trained on gaps, it does no better against noise than clipping;
# trained on noise, it is of some use against gaps, but worse than the mean image. And for little noise, Wiener's
# filter, which is told how strong the noise is, wins: the network trusts the pixels as little as it learnt to at 0.5.
# The same for noise of 1.0. If the noise varies, train with noise that varies, or tell the network.
#
# ## Where you stand
#
# This computes every number anew from your trained networks.

# %% tags=["check"]
check.report(denoiser, filler, mode)

# %% [markdown]
# ## Summary
#
# - Corrupted in, clean out: copying is no answer, so the code may be long.
# - Squared error makes the network approximate the mean over the clean images that are possible.
# - Yardsticks first: clipping, PCA, Wiener's filter. The network beats the best linear filter by about 1 dB here.
# - With Gaussian noise the correction is $s^2$ times the gradient of the log density of the noisy data.
# - Masking teaches robustness to missing inputs. No network withstands damage that it wasn't trained on.
#
# ## References
#
# 1. N. Wiener (1949), *Extrapolation, interpolation, and smoothing of stationary time series*, MIT Press.
#    [doi:10.7551/mitpress/2946.001.0001](https://doi.org/10.7551/mitpress/2946.001.0001)
# 2. P. Vincent, H. Larochelle, Y. Bengio and P.-A. Manzagol (2008), *Extracting and composing robust features with
#    denoising autoencoders*, ICML. [doi:10.1145/1390156.1390294](https://doi.org/10.1145/1390156.1390294)
# 3. P. Vincent (2011), *A connection between score matching and denoising autoencoders*, Neural Computation 23.
#    [doi:10.1162/NECO_a_00142](https://doi.org/10.1162/NECO_a_00142)
# 4. G. Alain and Y. Bengio (2014), *What regularized auto-encoders learn from the data-generating distribution*,
#    Journal of Machine Learning Research 15. [arXiv:1211.4246](https://arxiv.org/abs/1211.4246)
# 5. J. Ho, A. Jain and P. Abbeel (2020), *Denoising diffusion probabilistic models*, NeurIPS 33.
#    [arXiv:2006.11239](https://arxiv.org/abs/2006.11239)
