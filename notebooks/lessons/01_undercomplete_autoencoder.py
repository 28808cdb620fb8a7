# %% [markdown]
# # 01 Undercomplete autoencoders
