# %% [markdown]
# # Start here
#
# This folder is yours. Every session brings the lessons that are new, and never touches what you wrote: a lesson
# that you changed stays as it is, its new version is put beside it, and `NEWS.txt` says so.
#
# | lesson | what it is about | minutes | GPU |
# |---|---|---|---|
# | `01_undercomplete_autoencoder` | an image through eight numbers and back; how to beat PCA | 60-90 | full mode |
# | `02_contractive_autoencoder` | a code that does not move when the image trembles | 60-90 | full mode |
# | `03_sparse_autoencoder` | many numbers, most of them zero | 60 | full mode |
# | `04_denoising_autoencoder` | noise and missing pixels undone; the best linear filter beaten | 60-90 | full mode |
# | `05_deep_or_shallow` | how deep networks were trained when they couldn't be, and what changed | 60-90 | full mode |
# | `06_anomaly_detection` | finding fraud that nobody labelled; why 99.8 % may be worthless | 90 | no |
# | `07_variational_autoencoder` | a code from which new images can be drawn | 90 | full mode |
# | `08_generative_adversarial_networks` | a forger and a critic, two networks in a game | 90 | full mode |
# | `09_best_practices` | what to do first, and what saves a night | 75 | full mode |
# | `10_large_scale` | many workers: the same result, its cost, and what if one dies | 75-90 | full mode |
# | `11_the_machine` | where your cells run, and what that costs others | 45-60 | no |
#
# Begin with 01, and with 11 if you have never used a cluster. 02 to 05 build on 01 and can be taken in any order;
# 06 to 10 stand alone. No lesson needs a GPU as you find it: it runs through in about a minute on two cores, and the
# rest of the time is yours, to read, to predict and to write. *Full mode* is one word in a lesson's first cell: larger
# data, for which you want the row "One GPU" of the session menu where the table says so.
#
# **How to work.** Click a cell and press Shift+Enter: it runs, and the next one is chosen. Write your predictions
# before you run what they are about; a wrong prediction teaches more than a right one. Where a cell says *write your
# code here*, do; the cell below checks it and gives a hint. Nothing breaks if you leave an exercise for later.
#
# **If a notebook is in a muddle**: menu *Kernel*, *Restart Kernel and Run All Cells*.
#
# **When you are done**: menu *File*, *Hub Control Panel*, *Stop My Server*. The GPU is then free for somebody else;
# your files stay.

# %% [markdown]
# ## A fresh copy of a lesson
#
# This cell shows how your lessons stand.

# %%
from davide_course import handouts

handouts.show()

# %% [markdown]
# `handouts.fetch("01")` puts a lesson back that you deleted; `handouts.reset("01")` gives you a fresh copy and keeps
# yours beside it. Try one in a cell of your own: the **+** above makes one.
