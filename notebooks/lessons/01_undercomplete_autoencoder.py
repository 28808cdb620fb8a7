# %% [markdown]
# # 1 &nbsp; Undercomplete autoencoders
#
# An image of 64 pixels is a point in a space of 64 dimensions, but handwritten digits fill almost nothing of that
# space: set every pixel at random, and you will never meet a seven. So how many numbers does a digit really need? In
# this lesson a network has to answer. It must send each image through a **code** of eight numbers, and rebuild it from
# them.
#
# **After this lesson you can**
#
# - say what encoder, decoder, code and reconstruction loss are, and train an autoencoder in Keras;
# - show that a *linear* autoencoder finds the same space as principal component analysis (PCA), and measure how well;
# - show when a nonlinear one does better, by how much, and when it does not;
# - score a model honestly, on images that it has never seen;
# - use a code as the input of a classifier.
#
# You need Python, numpy and the singular value decomposition, but no deep learning. Write your predictions down
# before you run what they are about.

# %% tags=["parameters"]
mode = "fast"  # "fast": 8 x 8 digits, a minute on two cores; "full": MNIST, for a GPU
seed = 0  # of the random numbers; another seed is another experiment

# %%
import keras
import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf
from davide_course import data, plots
from davide_course.checks import lesson01 as check
from davide_course.prepare import prepare
from keras import optimizers
from keras.layers import Dense, GaussianNoise
from scipy.linalg import subspace_angles
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

prepare(seed)

# %% [markdown]
# ## The data
#
# Real digits; those of the fast mode were written by 13 people. Pixels are between 0 (paper) and 1 (ink). The model
# learns from the **training** images. The **test** images are kept for the judgement: a model that has learnt its
# images by heart shines on the first and fails on the second.

# %%
images = data.load_images(mode)
train, test = images.train, images.test
pixels = train.shape[1]
print(images.source)
print(f"{len(train)} images for training, {len(test)} for the test, {pixels} pixels each")
plots.gallery({"test images": test[:12]}, images.shape)

# %% [markdown]
# ## Encoder, code, decoder
#
# An autoencoder is two functions with parameters, trained as one:
#
# $$\mathbf h = f(\mathbf x), \qquad \mathbf r = g(\mathbf h), \qquad
#   \text{minimise}\quad L = \big\langle\, \lVert \mathbf x - g(f(\mathbf x)) \rVert^2 \,\big\rangle .$$
#
# The **encoder** $f$ turns an image $\mathbf x$ into its code $\mathbf h$, the **decoder** $g$ turns the code into the
# **reconstruction** $\mathbf r$, and the **loss** $L$ is the mean squared difference. Nobody labels anything: every
# image is its own target.
#
# If the code has as many numbers as the image has pixels, copying is a perfect answer and nothing is learnt. An
# **undercomplete** autoencoder has a code of $k$ numbers, fewer than the pixels. It can't copy, so it has to find out
# what the images have in common. We take $k = 8$.

# %%
code_size = 8


def error(reconstructions, originals):
    """Return the mean squared error over images and pixels."""
    return float(np.mean((np.asarray(reconstructions) - originals) ** 2))


# %% [markdown]
# ## The classical answer: PCA
#
# Let $f$ and $g$ be linear maps plus a constant, and the best ones are known in closed form. With $N$ images as the
# rows of $X$ and $\bar{\mathbf x}$ the mean image, take the singular value decomposition
#
# $$X - \bar{\mathbf x} = U\, S\, V^{\mathsf T}, \qquad
#   \mathbf h = V_k^{\mathsf T} (\mathbf x - \bar{\mathbf x}), \qquad
#   \mathbf r = \bar{\mathbf x} + V_k \mathbf h ,$$
#
# where $V_k$ is the first $k$ columns of $V$: the orthogonal directions along which the images vary most, with the
# variances $\lambda_i = S_i^2 / (N-1)$. No linear map through $k$ numbers has a smaller error on the images it was
# fitted to [1].
#
# ### Exercise 1
# Write it. `np.linalg.svd(matrix, full_matrices=False)` returns $U$, the diagonal of $S$, and $V^{\mathsf T}$.


# %% tags=["solution"]
def pca(images, size):
    """Return the mean image and the `size` leading directions, one direction a row."""
    mean = images.mean(axis=0)
    _, _, directions = np.linalg.svd(images - mean, full_matrices=False)
    return mean, directions[:size]


# %% tags=["check"]
check.pca(pca)

# %% [markdown]
# From here on we use scikit-learn's PCA, which does the same. Its eight numbers keep the gist of a digit and blur the
# rest. The error printed here is what a network has to beat.

# %%
pca8 = PCA(code_size).fit(train)
by_pca = pca8.inverse_transform(pca8.transform(test))
error_pca = error(by_pca, test)
print(f"PCA-8: error {error_pca:.4f} on the test images")
plots.gallery({"test images": test[:12], "PCA-8": by_pca[:12]}, images.shape)

# %% [markdown]
# ## A linear autoencoder
#
# Now the same with a network: one layer to the code, one layer back, no nonlinearity. We don't tell it about
# variances or eigenvectors. It sees images and a loss, and walks downhill:
#
# - a **batch** of images goes through, and the **gradient** says how the loss changes with each parameter;
# - **Adam**, the optimiser, takes a step; the **learning rate** sets its length, here shrinking to zero along a cosine;
# - an **epoch** is one pass over all training images.

# %%
batch = 32 if mode == "fast" else 256
epochs_a_round = 10 if mode == "fast" else 1  # MNIST has forty times the images


def learn_to_copy(model, rounds, learning_rate, callbacks=()):
    """Train a model to give back what it is given, for so many rounds of some epochs each."""
    steps = len(train) // batch * epochs_a_round
    pairs = tf.data.Dataset.from_tensor_slices((train, train))  # input and target are the same
    batches = pairs.shuffle(len(train)).repeat().batch(batch)
    adam = optimizers.Adam(optimizers.schedules.CosineDecay(learning_rate, rounds * steps))
    # A round is one call into TensorFlow; small networks would else wait for Python all the time.
    model.compile(adam, loss="mse", steps_per_execution=steps, jit_compile=False)
    how = {"epochs": rounds, "steps_per_epoch": steps, "shuffle": False, "verbose": 0}
    model.fit(batches, callbacks=list(callbacks), **how)


# %% [markdown]
# **How do we compare it with PCA?** Equal errors are not enough to say "it has found PCA". Equal weights are too much
# to ask: for any invertible matrix $A$, the code $A\mathbf h$ and the decoder $V_k A^{-1}$ give the same
# reconstructions. What has to agree is the *space* that the columns of the decoder span. Two spaces are compared by
# their **principal angles**, of which the largest is zero if and only if the spaces are the same.
#
# **Prediction 1.** After the training, what is the error of the linear autoencoder divided by PCA's, on the test
# images? How many degrees are there between its space and PCA's? Write numbers in place of `None`.


# %%
def angle_to_pca(model):
    """Return the largest principal angle between the decoder's space and PCA's, in degrees."""
    decoder = model.layers[-1].get_weights()[0]
    return np.degrees(subspace_angles(decoder.T, pca8.components_.T).max())


guess = {"error / PCA's error": None, "angle in degrees": None}

# %%
keras.utils.set_random_seed(seed)
linear = keras.Sequential([keras.Input((pixels,)), Dense(code_size), Dense(pixels)])
ratios, angles = [], []


def look(*_):
    """Note how far the linear autoencoder is, after each round."""
    ratios.append(error(linear(test), test) / error_pca)
    angles.append(angle_to_pca(linear))


watch = keras.callbacks.LambdaCallback(on_epoch_end=look)
learn_to_copy(linear, 30, learning_rate=0.01, callbacks=[watch])
check.prediction(guess, [ratios[-1], angles[-1]])

# %% tags=["aside"]
epochs = epochs_a_round * np.arange(1, len(ratios) + 1)
_, (left, right) = plt.subplots(1, 2, figsize=(9.5, 3.2))
left.plot(epochs, ratios)
left.axhline(1, color="0.5", linestyle=":")
left.set(title="error / PCA's error", xlabel="epochs", ylim=(0.99, 1.05))
right.semilogy(epochs, angles, color=plots.COLOURS[1])
right.axhline(1, color="0.5", linestyle=":")
right.set(title="largest principal angle (degrees)", xlabel="epochs")
plt.show()

# %% [markdown]
# The network that knows nothing of eigenvectors ends in the space of PCA: that is a theorem [2, 3], and the loss has
# no local minima on the way. But look at *when*. After 40 epochs the error is within 2 % of PCA's, and the spaces are
# still tens of degrees apart. The variances along the directions explain it:

# %% tags=["aside"]
variances = PCA(12).fit(train).explained_variance_
print("variance along directions 1 to 12:", *(f"{variance:.3f}" for variance in variances))
columns = linear.layers[-1].get_weights()[0]
axes = {"PCA's directions": pca8.components_, "decoder's columns": columns}
plots.gallery(axes, images.shape, signed=True)

# %% [markdown]
# Directions 8 and 9 carry nearly the same variance, so a space that leans from one to the other costs almost nothing,
# and the gradient hardly notices. **An error that has converged does not mean that the parameters have.** And the
# pictures show the freedom of $A$: the same space, spanned by other axes. PCA's directions are sorted and orthogonal,
# the network's are a mixture.
#
# ## A nonlinear autoencoder
#
# PCA approximates the cloud of digits by a flat, eight-dimensional sheet. If the digits lie near a *curved* sheet, a
# nonlinear $f$ and $g$ can follow it with the same eight numbers. The building block is the layer
#
# $$\mathbf y = \phi(W \mathbf x + \mathbf b),$$
#
# with a simple function $\phi$ for each number on its own: here GELU, a smooth step from $0$ to $x$. At the end comes
# a sigmoid, since pixels are between 0 and 1. Layers between the pixels and the code are called **hidden**. In training
# (only there) the input gets a pinch of noise, so that the network can't learn single images by heart.


# %%
def autoencoder(code_size, hidden):
    """Return an autoencoder with hidden layers of these sizes, mirrored after the code."""
    keras.utils.set_random_seed(seed)
    down = [Dense(size, "gelu") for size in hidden]
    up = [Dense(size, "gelu") for size in reversed(hidden)]
    gently = keras.regularizers.L2(1e-4)  # a small price for large codes, which else wander off
    code = Dense(code_size, name="code", activity_regularizer=gently)
    start = [keras.Input((pixels,)), GaussianNoise(0.1)]
    return keras.Sequential([*start, *down, code, *up, Dense(pixels, "sigmoid")])


# %% [markdown]
# **Prediction 2.** Which of these do better than PCA-8, and what is their error divided by PCA's?

# %%
guess = {"no hidden layer": None, "hidden 256": None, "hidden 256 and 128": None}

# %%
shallow = autoencoder(code_size, hidden=())
learn_to_copy(shallow, 10, learning_rate=0.01)
middle = autoencoder(code_size, hidden=(256,))
learn_to_copy(middle, 10, learning_rate=0.002)
deep = autoencoder(code_size, hidden=(256, 128))
learn_to_copy(deep, 10, learning_rate=0.002)
errors = [error(model(test), test) for model in (shallow, middle, deep)]
check.prediction(guess, [value / error_pca for value in errors])

# %% tags=["aside"]
flat_ones = {"PCA-8": error_pca, "linear autoencoder": error(linear(test), test)}
curved_ones = dict(zip(guess, errors, strict=True))
plots.bars(flat_ones | curved_ones, "error on the test images, code of 8 numbers")
some = test[:12]
rows = {"test images": some, "PCA-8": by_pca[:12], "deep autoencoder": deep(some)}
plots.gallery(rows, images.shape)

# %% [markdown]
# A nonlinearity alone, without hidden layers, gains little: a sigmoid bends the sheet in one fixed way. Hidden layers
# let the network choose how to bend it, and the error falls to less than half of PCA's. The pictures agree: strokes
# that PCA smears out are back.
#
# ## An honest score
#
# How much of that is learnt by heart? Compare:

# %% tags=["aside"]
for name, model in {"linear": linear, "deep": deep}.items():
    seen, unseen = error(model(train), train), error(model(test), test)
    print(f"{name:<7} error on the training images {seen:.4f}, on the test images {unseen:.4f}")

# %% [markdown]
# The linear network is nearly as good on new images as on old ones; the deep one is not. A score on training images
# would flatter it.
#
# ### Exercise 2
# Write the comparison so that nobody can object to it: the error of a model, and the error of PCA with a code of the
# same size, both on images that neither has seen. `PCA(size)` has the methods `fit`, `transform` and
# `inverse_transform`.


# %% tags=["solution"]
def honest_score(model, train, test, size):
    """Return the error of the trained `model`, and that of PCA with `size` numbers."""
    reference = PCA(size).fit(train)
    by_reference = reference.inverse_transform(reference.transform(test))
    return error(model(test), test), error(by_reference, test)


# %% tags=["check"]
check.honest_score(honest_score)

# %% [markdown]
# ## How long should the code be?
#
# **Prediction 3.** Draw two curves on paper, error against the length of the code, one for PCA and one for the
# autoencoder. Do they cross?

# %% tags=["aside"]
sizes = [2, 4, 8, 16, 32]
coders = {code_size: deep}  # this one has had ten rounds already
for size in set(sizes) - {code_size}:
    coders[size] = autoencoder(size, (256, 128))
    learn_to_copy(coders[size], 4, learning_rate=0.002)
by_coder = [error(coders[size](test), test) for size in sizes]
flats = {size: PCA(size).fit(train) for size in sizes}
by_flat = [error(flat.inverse_transform(flat.transform(test)), test) for flat in flats.values()]

# %% tags=["aside"]
_, axis = plt.subplots(figsize=(6.5, 3.8))
axis.loglog(sizes, by_flat, "o-", label="PCA")
axis.loglog(sizes, by_coder, "s-", label="deep autoencoder")
axis.set(xlabel="numbers in the code", ylabel="error on the test images")
axis.set_xticks(sizes, sizes)
axis.set_yticks([0.003, 0.01, 0.03], ["0.003", "0.01", "0.03"])
axis.minorticks_off()
axis.legend()
plt.show()

# %% [markdown]
# Short codes are where a nonlinear autoencoder earns its keep: with two numbers it is far better than PCA. With 32
# numbers for 64 pixels PCA keeps nearly everything, and wins. *More complicated* is not *better*; always run the simple
# method beside yours. (If you have time: what becomes of the right end without the noise, or with ten rounds?)
#
# ## What does a code look like?
#
# A code of two numbers can be drawn. Each dot is a test image, its colour is the digit. Nobody told either method that
# there are ten kinds of images.


# %% tags=["aside"]
def encode(model, images):
    """Return the codes of images."""
    return keras.Model(model.inputs[0], model.get_layer("code").output)(images).numpy()


planes = {
    "PCA": [flats[2].transform(part) for part in (train, test)],
    "deep autoencoder": [encode(coders[2], part) for part in (train, test)],
}
for name, (known, asked) in planes.items():
    neighbours = KNeighborsClassifier(10).fit(known, images.train_labels)
    share = neighbours.score(asked, images.test_labels)
    print(f"{name}: the ten nearest training images name {share:.0%} of the test rightly")
plots.code_planes({name: asked for name, (_, asked) in planes.items()}, images.test_labels)

# %% [markdown]
# The autoencoder spreads the digits into arms that PCA piles on top of each other: neighbours in its plane are more
# often the same digit. To use two numbers well, the network had to find out what distinguishes the images, and that is
# mostly which digit they show.
#
# ## A code as features
#
# Is that structure of use? Train the simplest classifier, logistic regression, on the codes (each number divided by
# its spread over the training images), and count its mistakes on the test images. Guessing would be wrong nine times
# out of ten.
#
# **Prediction 4.** The share of mistakes with 8 numbers of PCA, with 8 numbers of the deep autoencoder, and with all
# the pixels?

# %%
guess = {"PCA, 8 numbers": None, "deep autoencoder, 8 numbers": None, "all pixels": None}


# %% tags=["aside"]
def mistakes(train_codes, test_codes):
    """Return the share of test images that a logistic regression on codes names wrongly."""
    spread = train_codes.std(axis=0) + 1e-9  # a pixel at the rim may be white in every image
    classifier = LogisticRegression(max_iter=2000)
    classifier.fit(train_codes / spread, images.train_labels)
    return 1 - classifier.score(test_codes / spread, images.test_labels)


by_8_flat = mistakes(pca8.transform(train), pca8.transform(test))
by_8_curved = mistakes(encode(deep, train), encode(deep, test))
shares = [by_8_flat, by_8_curved, mistakes(train, test)]
check.prediction(guess, shares)
plots.bars(dict(zip(guess, shares, strict=True)), "share of mistakes on the test images", 3)

# %% [markdown]
# Eight learnt numbers make fewer mistakes than eight numbers of PCA: what helps to rebuild a digit helps to recognise
# it, although no label was used to learn the code. They don't beat all the pixels, of which there are eight times as
# many. A share of 0.05 of 360 images has a standard error of 0.011, so don't read much into the last digit.
#
# ## Where you stand
#
# This computes every number anew from your trained networks.

# %% tags=["check"]
check.report(linear, deep, mode)

# %% [markdown]
# ## Summary
#
# - An autoencoder learns $\mathbf r = g(f(\mathbf x)) \approx \mathbf x$ without labels. A code shorter than the image
#   keeps it from copying.
# - Linear, with squared error: the decoder spans the space of PCA. The error shows it early, the angle late.
# - Nonlinear with hidden layers: less than half of PCA's error with eight numbers. For long codes PCA wins.
# - A score is made on images that the model has never seen, with the simple method beside it.
# - The code is of use beyond reconstruction: as a map of the data and as features.
#
# The next lesson asks what to do when the code is *not* short.
#
# ## References
#
# 1. C. Eckart and G. Young (1936), *The approximation of one matrix by another of lower rank*, Psychometrika 1.
#    [doi:10.1007/BF02288367](https://doi.org/10.1007/BF02288367)
# 2. H. Bourlard and Y. Kamp (1988), *Auto-association by multilayer perceptrons and singular value decomposition*,
#    Biological Cybernetics 59. [doi:10.1007/BF00332918](https://doi.org/10.1007/BF00332918)
# 3. P. Baldi and K. Hornik (1989), *Neural networks and principal component analysis: learning from examples without
#    local minima*, Neural Networks 2.
#    [doi:10.1016/0893-6080(89)90014-2](https://doi.org/10.1016/0893-6080%2889%2990014-2)
# 4. G. Hinton and R. Salakhutdinov (2006), *Reducing the dimensionality of data with neural networks*, Science 313.
#    [doi:10.1126/science.1127647](https://doi.org/10.1126/science.1127647)
# 5. I. Goodfellow, Y. Bengio and A. Courville (2016), *Deep Learning*, chapter 14, MIT Press.
#    [deeplearningbook.org](https://www.deeplearningbook.org/contents/autoencoders.html)
# 6. E. Alpaydin and C. Kaynak (1998), *Optical recognition of handwritten digits*, UCI Machine Learning Repository.
#    [doi:10.24432/C50P49](https://doi.org/10.24432/C50P49)
