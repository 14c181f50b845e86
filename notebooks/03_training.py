# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#       jupytext_version: 1.19.6
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # The network and its training
#
# **What does the U-Net look like, and how does it learn?**
#
# This chapter draws the paper's Figure 2 from the model that is actually trained, shows what the network is fed, trains
# it, and plots how its error fell.
#
# - Reads: the prepared training cases of 02_preprocessing.
# - Leaves: `models/unet/` with the weights (`unet.keras`), their settings, and `history.csv`.
# - Takes: four to seven minutes in `demo` on two cores; days on one graphics processor with the values as published.
#
# For research and teaching only, not for clinical use.

# %% tags=["parameters"]
profile: str = "demo"  # smoke, demo, phantom, public or paper; 00_start_here explains them
seed: int = 2019  # every random draw of the run follows from it
data_dir: str = ""  # folder of your own data; empty for the simulated cohort
out_dir: str = ""  # work folder; empty for the profile's folder under work
overrides: str = ""  # settings to change; words of section.name and value, see 00_start_here

# %%
import flairnb
from flairnb.report import results, steps, views

run = flairnb.start("03", profile, seed, data_dir, out_dir, overrides)
run

# %% [markdown]
# ## Figure 2: the architecture
#
# A convolution slides a small cube of weights over the image and writes down how well it fits at each place. Four
# *down-sampling* blocks halve the resolution and look at ever larger surroundings; four *up-sampling* blocks bring it
# back. *Cross-links* hand the fine detail straight across, and *residual* connections add a block's input to its
# output, which makes deep networks trainable. A *softmax* at the end turns two numbers a voxel into a probability of
# lesion.

# %%
run.keep(views.architecture(run), "architecture")

# %% [markdown]
# Boxes and numbers are read off the built model, so the drawing cannot disagree with the code. The paper prints four
# blocks down and up, 3 x 3 x 3 kernels and three layers before the end; it does not print the number of channels (the
# "width") nor how many convolutions a block holds.

# %%
results.network_facts(run)

# %% [markdown]
# The paper writes that a *dilation factor* of 2 (a kernel with gaps) was used "in all convolutional layers". Taken
# literally, the layers that halve the resolution would then leave seven of eight voxels unread; we dilate the others
# only. A batch of six patches at width 16 is what fits the 12 GB of the graphics processor that the paper names.

# %% [markdown]
# ## What the network is fed
#
# Not whole brains but cubes cut out of them, half of them with lesion and half without, each shifted, turned, stretched
# and bent a little at random (*augmentation*), so that no patch is seen twice in the same form.

# %%
run.keep(views.training_patches(run), "training_patches")

# %% [markdown]
# Lesion outlines move with the image. If an outline ever left its bright spot in these panels, the network would be
# taught a wrong answer, and no later score would tell why.

# %% [markdown]
# ## Training
#
# The *loss* says how wrong the network's probabilities are; training changes the weights step by step so that it falls.
# An *epoch* is one pass over all patches. The paper used cross-entropy, Adam at a learning rate of 0.00001 and 50
# epochs; the small profiles use a larger rate and add a Dice term, because they have minutes, not days.
#
# A run that is interrupted goes on where it stopped when this cell is run again.

# %%
history = steps.train_network(run)
run.keep(views.learning_curve(history), "learning_curve")

# %% [markdown]
# A falling curve shows that the network fits its training patches, and no more than that. Whether it has learned lesions
# or just these heads, only the next two chapters can tell, on patients it has not seen. The paper did no search over
# hyperparameters, so it needed no third group of patients. We could not keep to that: the demo's settings and its phantoms were
# changed after looking at validation scores (README), so ours are no held-out scores.

# %%
run.finish(numbers=results.training_numbers(run, history))
