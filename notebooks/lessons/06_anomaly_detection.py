# %% [markdown]
# # 6 &nbsp; Anomaly detection: a fraud in a thousand payments
#
# Two payments in a thousand with a stolen card: too few to learn what they look like, and tomorrow's thief does
# something else anyway. So learn what *normal* looks like. An autoencoder that has only seen normal payments rebuilds
# them well; what it rebuilds badly is suspicious. This lesson builds such a detector, and spends as much time on a
# harder question: **how do you find out whether it is any good?**
#
# **After this lesson you can**
#
# - use the reconstruction error of an autoencoder as an anomaly score, and say when that works;
# - read a confusion matrix, and say why accuracy misleads when one class is rare;
# - compute precision, recall, the precision-recall curve and its average, and put an interval on them;
# - choose a threshold without cheating, from a precision, an F-measure or a budget of alarms;
# - put simple methods beside yours, and believe them when they win.
#
# You need what an autoencoder is (lesson 1). Write your predictions down before you run what they are about.

# %% tags=["parameters"]
mode = "fast"  # "fast": a synthetic table, a minute on two cores; "full": the real table, if it is staged
seed = 0  # of the random numbers, and of the synthetic table; another seed is another experiment

# %%
import keras
import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf
from davide_course import cards, plots
from davide_course.checks import lesson06 as check
from davide_course.prepare import prepare
from davide_course.training import train as minimise
from keras.layers import Dense
from sklearn.ensemble import IsolationForest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score, roc_curve

prepare(seed)

# %% [markdown]
# ## The data
#
# A famous table [1] holds 284,807 card payments of two days, 492 of them fraud. The bank published no quantity that
# it measures, only their 28 principal components `V1` ... `V28`, and the amount. In fast mode you get a **synthetic**
# table of the same shape, made for this course: scores on it say nothing about real fraud. `help(cards.synthetic)`
# tells how it is made; better read that at the end.
#
# Payments come one after the other, and a detector knows only the past. So the table is cut **by time**: the first
# 60 % for training, the next 20 % for validation (every choice is made there), the last 20 % for the test. A random
# cut would let the detector look into the future.

# %%
table = cards.load_cards(mode, seed)
train, validation, test = cards.by_time(table)
fraud = table.fraud
print(f"{table.name} table ({table.source}): {len(fraud)} payments, {fraud.mean():.3%} fraud")
for name, part in {"training": train, "validation": validation, "test": test}.items():
    print(f"{name:<10} {len(fraud[part]):>7} payments, {fraud[part].sum():>4} frauds")

# %% [markdown]
# The autoencoder learns from the normal payments of the training part. Every column is shifted and scaled so that
# there, its mean is 0 and its standard deviation 1: the error then weighs all columns alike.

# %%
normal = table.features[train][~fraud[train]]
features = (table.features - normal.mean(axis=0)) / normal.std(axis=0)
normal = features[train][~fraud[train]]

# %% [markdown]
# Does a single column give the frauds away?

# %% tags=["aside"]
_, axes = plt.subplots(1, 4, figsize=(11, 2.8), sharey=True)
for axis, column in zip(axes, (0, 13, 27, 28), strict=True):
    for kind, label in ((~fraud, "normal"), (fraud, "fraud")):
        values = np.clip(features[kind, column], -5, 5)
        axis.hist(values, np.linspace(-5, 5, 41), density=True, histtype="step", linewidth=1.8, label=label)
    axis.set(title=cards.COLUMNS[column], xlabel="standard deviations", xticks=(-4, 0, 4))
axes[0].set_ylabel("density")
axes[0].legend(loc="upper left", fontsize=9)
plt.show()
between = np.corrcoef(table.features[:, :28].T) - np.eye(28)
print(f"largest correlation between two of V1 ... V28: {np.abs(between).max():.4f}")

# %% [markdown]
# (What lies beyond five standard deviations is drawn at the rim.) In the synthetic table they do, a little: in the last
# columns, where normal payments vary least, frauds are spread wider. But there are 578 normal payments to each fraud,
# and even their rare outliers outnumber the frauds. No two of the V columns are correlated. That doesn't make them
# *independent*: the coordinates on a circle are uncorrelated, too.
#
# ## Why accuracy misleads
#
# A detector raises an **alarm** or not, and the payment is a fraud or not: four cases.
#
# | | alarm | no alarm |
# |---|---|---|
# | **fraud** | true positive, TP | false negative, FN |
# | **normal** | false positive, FP | true negative, TN |
#
# $$\text{accuracy} = \frac{TP + TN}{\text{all}}, \qquad
#   \text{precision} = \frac{TP}{TP + FP}, \qquad
#   \text{recall} = \frac{TP}{TP + FN} .$$
#
# Precision: what share of the alarms is worth the trouble? Recall: what share of the frauds is found?
#
# **Prediction 1.** A detector that never raises an alarm: what are its accuracy and its recall on the test part?

# %%
guess = {"accuracy": None, "recall": None}

# %%
never = np.zeros(len(fraud[test]), bool)
check.prediction(guess, [np.mean(never == fraud[test]), never[fraud[test]].mean()])

# %% [markdown]
# More than 99.8 % of its verdicts are right, and it is useless. Where one class is rare, nearly all of the accuracy
# comes from the other one. From here on, no accuracy.
#
# ### Exercise 1
# Write the two measures that we use instead. `alarm` and `fraud` are arrays of `True` and `False`, one per payment.


# %% tags=["solution"]
def measures(alarm, fraud):
    """Return precision and recall. Without any alarm the precision is 0."""
    found = np.sum(alarm & fraud)
    precision = found / alarm.sum() if alarm.any() else 0.0
    return precision, found / fraud.sum()


# %% tags=["check"]
check.measures(measures)

# %% [markdown]
# ## The detector
#
# $$\text{score}(\mathbf x) = \frac{1}{29} \lVert \mathbf x - g(f(\mathbf x)) \rVert^2 ,
#   \qquad \text{alarm if score} \ge \text{threshold} .$$
#
# The hope behind it: normal payments lie near a curved sheet of few dimensions, the network learns that sheet, and
# frauds lie beside it. If frauds lie *on* the sheet, or if the code is so long that the network copies whatever comes,
# the score is worth nothing. We take two hidden layers each way and a code of 6 numbers; size and number of epochs
# were chosen on the validation part.

# %%
code_size = 6
keras.utils.set_random_seed(seed)
down = [Dense(64, "gelu"), Dense(64, "gelu"), Dense(code_size)]
up = [Dense(64, "gelu"), Dense(64, "gelu"), Dense(len(cards.COLUMNS))]
detector = keras.Sequential([keras.Input((len(cards.COLUMNS),)), *down, *up])


def copy_loss(rows):
    """Return the mean squared error of the copies of some payments."""
    return tf.reduce_mean(tf.square(detector(rows) - rows))


how = {"epochs": 8, "learning_rate": 0.002, "batch": 512, "seed": seed}
losses = minimise(copy_loss, detector.trainable_variables, [normal], **how)
print("mean loss of each epoch:", *(f"{loss:.3f}" for loss in losses))

# %%
scores = np.mean((detector.predict(features, batch_size=8192, verbose=0) - features) ** 2, axis=1)

# %% [markdown]
# **Prediction 2.** How many times larger is the median score of the frauds than that of the normal payments in the
# test part? And what share of the normal payments has a larger score than the median fraud?

# %%
guess = {"median of frauds / median of normal": None, "share of normal payments above the median fraud": None}

# %%
of_fraud, of_normal = scores[test][fraud[test]], scores[test][~fraud[test]]
middle = np.median(of_fraud)
check.prediction(guess, [middle / np.median(of_normal), np.mean(of_normal > middle)])

# %% tags=["aside"]
_, axis = plt.subplots(figsize=(7, 3.2))
edges = np.geomspace(scores[test].min(), scores[test].max(), 60)
axis.hist(of_normal, edges, label=f"{len(of_normal)} normal payments")
axis.hist(of_fraud, edges, label=f"{len(of_fraud)} frauds", alpha=0.8)
axis.set(xscale="log", yscale="log", xlabel="score", ylabel="payments of the test part", ylim=(0.7, None))
axis.legend()
plt.show()

# %% [markdown]
# The two are far apart, and still overlap where it counts: one normal payment in a thousand is more than half as
# many as there are frauds.
#
# ## Judging all thresholds at once
#
# Each threshold gives one precision and one recall; together they are the **precision-recall curve**. Its summary is
# the **average precision**, with $P_n$ and $R_n$ at the $n$-th threshold
#
# $$AP = \sum_n (R_n - R_{n-1})\, P_n ,$$
#
# near 1 for a perfect detector. A detector that guesses has the precision of the share of frauds at every threshold, so
# here $AP \approx 0.002$. The other popular curve is the **ROC curve**: recall against the share of normal payments
# with an alarm. The area under it (ROC-AUC) is the probability that a random fraud scores higher than a random normal
# payment; guessing gives 0.5.
#
# **Prediction 3.** The area under the ROC curve, and the average precision?

# %%
guess = {"area under the ROC curve": None, "average precision": None}

# %%
area = roc_auc_score(fraud[test], scores[test])
average = average_precision_score(fraud[test], scores[test])
check.prediction(guess, [area, average])

# %% tags=["aside"]
_, (left, right) = plt.subplots(1, 2, figsize=(9.5, 3.8))
false_share, true_share, _ = roc_curve(fraud[test], scores[test])
left.plot(false_share, true_share)
left.plot([0, 1], [0, 1], color="0.5", linestyle=":")
left.set(title=f"ROC curve, area {area:.3f}", xlabel="share of normal payments with an alarm", ylabel="recall")
precision, recall, _ = precision_recall_curve(fraud[test], scores[test])
right.plot(recall, precision, color=plots.COLOURS[1])
right.axhline(fraud[test].mean(), color="0.5", linestyle=":")
right.set(title=f"precision-recall curve, AP {average:.3f}", xlabel="recall", ylabel="precision", ylim=(-0.02, 1.02))
plt.show()

# %% [markdown]
# The same scores: nearly perfect on the left, and a fair detector with much to complain about on the right. The ROC
# curve divides the false alarms by the number of all normal payments, which is so large that it hides them. Whoever
# has to look at each alarm lives on the right.
#
# ## The simple methods beside it
#
# - **One column**: the best of the 29, taken as it is, with its sign turned, or as an absolute value. It is chosen on
#   the test part, which flatters it.
# - **PCA error**: the autoencoder's flat sister. The V columns are principal components already, so what PCA with $k$
#   numbers can't rebuild is the squares of the columns after the $k$-th. We take the best $k$ of the validation part.
# - **Isolation forest** [2]: cuts the space at random; what is alone after few cuts is odd. It needs no labels.
# - **Logistic regression**: learns from the *labels* of the training part, frauds included.


# %% tags=["aside"]
def ap(scores, part):
    """Return the average precision of scores of all payments on a part of them."""
    return average_precision_score(fraud[part], scores[part])


squares = (table.features[:, :28] - table.features[train][~fraud[train], :28].mean(axis=0)) ** 2
by_pca = max((squares[:, k:].sum(axis=1) for k in range(4, 28, 4)), key=lambda one: ap(one, validation))
columns = [one for column in features.T for one in (column, -column, np.abs(column))]
by_column = max(columns, key=lambda one: ap(one, test))
forest = IsolationForest(random_state=seed).fit(normal)
by_forest = np.zeros(len(fraud))
by_forest[test] = -forest.score_samples(features[test])
labelled = LogisticRegression(max_iter=1000).fit(features[train], fraud[train])
by_labels = labelled.decision_function(features)

# %% [markdown]
# With about a hundred frauds in the test part, chance has a say. The **bootstrap** [3] shows how much: draw as many
# payments from the test part as it has, with replacement, compute the score anew, do it many times, and look at the
# middle 95 %.


# %% tags=["aside"]
def interval(scores, draws=100):
    """Return the middle 95 % of the average precision over bootstrap samples of the test part."""
    chance = np.random.default_rng(seed)
    y, s = fraud[test], scores[test]
    samples = (chance.integers(len(y), size=len(y)) for _ in range(draws))
    return np.percentile([average_precision_score(y[chosen], s[chosen]) for chosen in samples], [2.5, 97.5])


methods = {"one column": by_column, "isolation forest": by_forest, "logistic regression": by_labels}
methods |= {"PCA error": by_pca, "autoencoder": scores}
_, axis = plt.subplots(figsize=(7.5, 3))
for row, (name, found) in enumerate(methods.items()):
    low, high = interval(found)
    axis.plot([low, high], [row, row], color=plots.COLOURS[0], linewidth=3)
    axis.plot(ap(found, test), row, "o", color=plots.COLOURS[1], markersize=9)
    print(f"{name:<20} AP {ap(found, test):.3f}, 95 % interval {low:.3f} to {high:.3f}")
axis.set_yticks(range(len(methods)), methods)
axis.set(xlabel="average precision on the test part, with 95 % interval", xlim=(-0.02, 1))
plt.show()

# %% [markdown]
# In the synthetic table the autoencoder is far ahead, for an honest reason. A thief uses somebody else's card: some
# quantities follow the thief's habits, the others the owner's, and each of them alone looks as usual. What is broken is
# the *relation* between them, and that relation is curved. PCA sees the flat part of it, the isolation forest asks one
# column at a time, and logistic regression looks for a direction in which frauds lie, but there is none.
#
# **Don't carry this order to other data.** In the real table many frauds *are* shifted along a few columns, and labels
# of past frauds tell which: with the same cut by time, 60/20/20, somebody's logistic regression reached an AP of 0.74
# on the 75 frauds of the test part [4]. What an autoencoder reaches there, full mode shows you; expect much less. If
# you have labels and frauds repeat themselves, use the labels. The autoencoder is for what nobody has seen before.
#
# ## Choosing a threshold
#
# An alarm needs one number. A rule turns the scores of the *validation* part into it, for example:
#
# - the largest recall among the thresholds with a precision of at least one half;
# - the largest $F_\beta = (1 + \beta^2)\, P R / (\beta^2 P + R)$, where recall counts $\beta$ times as much as
#   precision;
# - a **budget**: the people who call the card's owners manage so many alarms a day.
#
# Then the threshold is *frozen*, and judged on the test part.
#
# ### Exercise 2
# Write the first rule. `validation` and `test` are pairs: scores, and whether the payments are frauds. There is an
# alarm where the score is at least the threshold. `precision_recall_curve(fraud, scores)` returns arrays of precisions,
# recalls and thresholds; the thresholds rise, and the first two have one entry more, to be left out. *When is the
# recall largest?*


# %% tags=["solution"]
def judge(validation, test, least):
    """Return the threshold of the largest recall at precision >= `least`, and its two measures.

    They are precision and recall on the test part.
    """
    scores, fraud = validation
    precision, _, thresholds = precision_recall_curve(fraud, scores)
    threshold = thresholds[precision[:-1] >= least].min()
    scores, fraud = test
    alarm = scores >= threshold
    return threshold, fraud[alarm].mean(), alarm[fraud].mean()


# %% tags=["check"]
check.judge(judge)

# %% [markdown]
# The check also called your function with other labels for the test part: an honest threshold doesn't change then.
#
# **Prediction 4.** You want a precision of one half, and freeze the threshold that gives it on the validation part.
# Will the precision on the test part be above or below, and by how much?

# %% tags=["aside"]
days = np.ptp(table.seconds[validation]) / 86_400
budgets = np.geomspace(50, 2000, 40)  # alarms a day
thresholds = np.quantile(scores[validation], 1 - budgets * days / len(fraud[validation]))
_, axes = plt.subplots(1, 2, figsize=(9.5, 3.4), sharey=True)
for part, name, line in ((validation, "validation", ":"), (test, "test", "-")):
    alarms = [scores[part] >= threshold for threshold in thresholds]
    axes[0].plot(budgets, [fraud[part][alarm].mean() for alarm in alarms], line, label=name)
    axes[1].plot(budgets, [alarm[fraud[part]].mean() for alarm in alarms], line, label=name)
for axis, title in zip(axes, ("precision", "recall"), strict=True):
    axis.set(title=title, xscale="log", xlabel="budget: alarms a day on the validation part", ylim=(0, 1.03))
    axis.set_xticks([50, 100, 200, 500, 1000, 2000], [50, 100, 200, 500, 1000, 2000])
    axis.minorticks_off()
axes[1].legend(loc="lower right")
plt.show()

# %% [markdown]
# Dotted is what the validation part promises, solid is what the test part keeps: precision is a few points off, recall
# for some budgets twenty, since each part has only about a hundred frauds. Beyond some budget more alarms hardly find
# more: the rest of the frauds hides among the normal payments.

# %% tags=["aside"]
curve = precision_recall_curve(fraud[validation], scores[validation])
rules = {"300 alarms a day": np.interp(300, budgets, thresholds)}
for beta in (1, 2):
    p, r = curve[0][:-1], curve[1][:-1]
    rules[f"largest F{beta}"] = curve[2][np.argmax((1 + beta**2) * p * r / (beta**2 * p + r + 1e-12))]
for name, threshold in rules.items():
    alarm, labels = scores[test] >= threshold, fraud[test]
    cases = f"TP {np.sum(alarm & labels):>3}  FN {np.sum(~alarm & labels):>3}  FP {np.sum(alarm & ~labels):>4}"
    print(f"{name:<17} {cases}  precision {labels[alarm].mean():.2f}  recall {alarm[labels].mean():.2f}")

# %% [markdown]
# Which rule is right is not a question of mathematics: it depends on what a missed fraud costs, and what a needless
# call.
#
# ## Where you stand
#
# This computes every number anew from your trained network.

# %% tags=["check"]
check.report(detector, mode, seed)

# %% [markdown]
# ## Summary
#
# - Train an autoencoder on normal rows only; a large reconstruction error is an anomaly. It works if normal rows lie
#   near a sheet and the anomalies don't.
# - Where one class is rare, accuracy and the ROC curve flatter. Precision, recall and average precision don't.
# - Cut by time; choose everything on the validation part, freeze it, and judge it once on the test part.
# - A hundred positive cases are few: show an interval.
# - Put the simple methods beside it. Labels, where there are any and frauds repeat themselves, are hard to beat.
#
# ## References
#
# 1. A. Dal Pozzolo, O. Caelen, R. Johnson and G. Bontempi (2015), *Calibrating probability with undersampling for
#    unbalanced classification*, IEEE Symposium Series on Computational Intelligence.
#    [doi:10.1109/SSCI.2015.33](https://doi.org/10.1109/SSCI.2015.33)
# 2. F. T. Liu, K. M. Ting and Z.-H. Zhou (2008), *Isolation forest*, IEEE International Conference on Data Mining.
#    [doi:10.1109/ICDM.2008.17](https://doi.org/10.1109/ICDM.2008.17)
# 3. B. Efron (1979), *Bootstrap methods: another look at the jackknife*, Annals of Statistics 7.
#    [doi:10.1214/aos/1176344552](https://doi.org/10.1214/aos/1176344552)
# 4. GuiMM27, *Credit card fraud detection: logistic regression*, model card with results on the real table, read in
#    2026. [huggingface.co](https://huggingface.co/GuiMM27/fraud-detection-ml)
# 5. J. Davis and M. Goadrich (2006), *The relationship between precision-recall and ROC curves*, International
#    Conference on Machine Learning. [doi:10.1145/1143844.1143874](https://doi.org/10.1145/1143844.1143874)
# 6. T. Saito and M. Rehmsmeier (2015), *The precision-recall plot is more informative than the ROC plot when evaluating
#    binary classifiers on imbalanced datasets*, PLOS ONE 10.
#    [doi:10.1371/journal.pone.0118432](https://doi.org/10.1371/journal.pone.0118432)
