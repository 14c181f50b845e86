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
# # Start here
#
# **What do these notebooks do, and with which settings?**
#
# They walk through one paper, from images to tables: Duong et al., *Convolutional Neural Network for Automated FLAIR
# Lesion Segmentation on Clinical Brain MR Imaging*, AJNR Am J Neuroradiol 2019;40:1282-1290. Each chapter does one
# step of its Methods again and shows our number beside the paper's.
#
# - Reads: nothing.
# - Leaves: `tables/settings.tsv`, the settings of every profile with their sources.
# - Takes: less than a minute in every profile.
#
# For research and teaching only, not for clinical use.

# %% tags=["parameters"]
profile: str = "demo"  # smoke, demo, phantom, public or paper; 00_start_here explains them
seed: int = 2019  # every random draw of the run follows from it
data_dir: str = ""  # folder of your own data; empty for the simulated cohort
out_dir: str = ""  # work folder; empty for the profile's folder under work
overrides: str = ""  # settings to change; words of section.name and value, see 00_start_here

# %%
import pandas as pd

import flairnb
from flairnb.provenance import machine, versions
from flairnb.report.appendix import faults, not_available
from flairnb.report.chapters import chapter_table
from flairnb.settings import describe

run = flairnb.start("00", profile, seed, data_dir, out_dir, overrides)
run

# %% [markdown]
# ## The chapters
#
# FLAIR (fluid-attenuated inversion recovery) is the MR sequence that turns the fluid in and around the brain dark, so
# that most lesions stand out bright. The paper trained a *U-Net*, a neural network shaped like the letter U: one arm
# looks at the image ever more coarsely to understand what it sees, the other goes back to full detail to draw the
# outline. It learned from 295 examinations and was tested on 92 others, over 19 diseases and 16 scanner models.
#
# The chapters below follow the paper's Methods. A chapter hands its results to the next one through files, so each
# can be run again by itself.

# %%
chapter_table()

# %% [markdown]
# If a chapter lacks a file that an earlier one makes, its third cell says so and names that chapter. It never goes on
# with an old or an empty result.

# %% [markdown]
# ## Profiles and settings
#
# A *profile* is a set of values for everything that can be chosen. `paper` holds every value as published and needs a
# hospital's own images and a graphics processor. `demo` runs the same code on simulated patients in minutes on a
# laptop: coarser voxels, a narrower network, fewer cases. `smoke` is smaller still and only shows that every step runs;
# its scores mean nothing. Shown are the values of this run's profile and of `paper`; `tables/settings.tsv` has all. The last
# column says where a value comes from, or that the paper does not report it.

# %%
settings_table = run.save(pd.DataFrame(describe()), "tables/settings.tsv")
settings_table[list(dict.fromkeys(["setting", run.settings.profile, "paper", "source"]))]

# %% [markdown]
# Read the rows that begin with "not reported" first: they are our choices, and another careful reader could have
# chosen otherwise. To change a value for one run, give `overrides` the setting's name, an equals sign and the value,
# several of them separated by blanks. An unknown name is refused with the nearest known one; it is never ignored.

# %% [markdown]
# ## What was tried to break it
#
# Bad input, servers that lie, processes killed at random points, full disks. The table is written by the tests
# (`make faults`), not by hand; a test fails at the first file that is lost or half-written.

# %%
faults()

# %% [markdown]
# "Refused in one line" is a message that says what to do, before anything is written; "went on" means that the same
# command, run again, ended as if nothing had happened.

# %% [markdown]
# ## What the paper keeps in its appendix
#
# Some of what a repetition needs is printed in the On-line Appendix only, which was not available to us. The table
# says for each item what the article's text does tell, and what we do instead.

# %%
not_available()

# %% [markdown]
# None of these gaps is small. The first two decide which lesions the network has seen; the one about volume errors
# decides whether two printed numbers can be compared with anything at all.

# %% [markdown]
# ## This machine
#
# Times in the report are of this machine. The paper's network ran on a Titan Xp graphics processor; the `demo` profile
# needs two processor cores and less than 8 GB of memory.

# %%
pd.Series({**machine(), **versions()}, name="here").to_frame()

# %% [markdown]
# The same weights, settings and machine give the same masks, bit for bit. Training does not: with several threads sums come in
# another order, and two trainings end a hundredth of Dice apart. On another machine the last digits of the network's arithmetic
# may differ, and with them a few voxels at the edge of a lesion.

# %%
run.finish(numbers={"settings": len(settings_table), "cores": run.jobs})
