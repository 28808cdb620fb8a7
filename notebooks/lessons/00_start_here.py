# %% [markdown]
# # Start here
#
# This folder is yours. Every session brings the lessons that are new, and never touches what you wrote: a lesson
# that you changed stays as it is, its new version is put beside it, and `NEWS.txt` says so.
#
# | lesson | what it is about | minutes | GPU |
# |---|---|---|---|
# | `01_undercomplete_autoencoder` | an image through eight numbers and back; PCA and how to beat it | 60-90 | no |
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
