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
# # Preparing the images
#
# **What happens to an examination before the network sees it, and what does that cost?**
#
# Images arrive with skull and scalp, uneven brightness, thick slices and arbitrary grey values. The network needs the
# brain alone, on cubic voxels, with comparable intensities.
#
# - Reads: `manifest.tsv` from 01_cohort.
# - Leaves: brain masks and prepared images under `derivatives/flairnb/`, `tables/preparation.tsv`.
# - Takes: three to five minutes in `demo`; at the paper's 1 mm some 12 seconds of one core a patient.
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
from flairnb.report import quality, steps, views

run = flairnb.start("02", profile, seed, data_dir, out_dir, overrides)
run

# %% [markdown]
# ## The steps
#
# Steps 2 to 5 are the paper's, with the same software family (ANTs); step 1 is ours:
#
# 1. **Uneven brightness** from the coils is estimated and divided out (N4) on the T1-weighted image. Not on the FLAIR:
#    there it also evened out large lesions.
# 2. **Brain extraction** on the T1-weighted image: a template head is matched to the patient's (turned, moved and stretched; in
#    the larger profiles also bent), and its brain outline comes along.
# 3. **Registration**: the T1-weighted image is moved rigidly onto the FLAIR, and the brain outline with it.
# 4. **Resampling** to cubic voxels by linear interpolation (1 mm in the paper).
# 5. **Normalisation**: the brain's mean becomes 0 and its standard deviation (SD) 1, so that "bright" means the same
#    on every scanner.
#
# The paper does not print the template, the commands or over which voxels the mean was taken; our choices are in the
# settings table of 00_start_here.

# %%
preparation = steps.prepare_images(run)
quality.preparation_summary(preparation)

# %% [markdown]
# A case that cannot be prepared is counted as failed, with its reason, and left out of everything that follows. If this
# count is not zero, every later result is about fewer patients than the cohort has.

# %% [markdown]
# ## Before and after
#
# One validation case: the FLAIR as it came from the scanner (a simulated one, if the patient is) with the brain outline, and
# the prepared volume that the network will see.

# %%
run.keep(views.brain_outline(run), "brain_outline")

# %% [markdown]
# The outline should run along the brain's surface: outside it means fat and skin enter the normalisation and may be
# mistaken for lesions, inside it means that cortical lesions are cut away before anyone looked for them.

# %%
run.keep(views.prepared_volume(run), "prepared_volume")

# %% [markdown]
# The grey scale is in SD from the brain's mean. Between two thick slices the resampled volume contains nothing new:
# linear interpolation invents intermediate values, it does not recover what the scanner did not measure.

# %% [markdown]
# ## Are the brains plausible?
#
# The true brain of a phantom is known, so the extracted one can be scored; the score is in this chapter's last table. Dice is
# twice the shared volume divided by the sum
# of both volumes: 1 for identical outlines, 0 for no overlap.

# %%
brains = run.save(quality.preparation_quality(run), "tables/preparation_quality.tsv")
run.keep(views.quality_chart(brains), "preparation_quality")

# %% [markdown]
# Brain volumes of adults lie around 1.0 to 1.6 litres. A bar far below or above is a failed extraction even when its
# row says "ok".

# %% [markdown]
# ## What the working grid costs
#
# The network draws on cubic voxels; the score is taken on the scanner's own grid, and something is lost on the way there and
# back. Here the reader's own mask takes that round trip and is compared with itself.

# %%
trip = run.save(quality.round_trip(run), "tables/round_trip.tsv")
trip.describe().loc[["count", "50%", "min", "max"]]

# %% [markdown]
# This is what a mask loses on the way at this voxel size, and no bound: a mask says yes or no in each cube, a network's
# probability map says how much, so it can lose less. With the paper's 1 mm voxels the loss is smaller than with the coarser
# voxels of `demo`, one reason why our scores and the paper's are not like with like.

# %%
run.finish(
    numbers={
        "prepared": int((preparation["status"] == "ok").sum()),
        "failed": int((preparation["status"] != "ok").sum()),
        "median_seconds": float(preparation["seconds"].median()),
        "brain_volume_median_ml": float(brains["brain_ml"].median()),
        "brain_dice_median": float(brains["brain_dice"].median()),
        "round_trip_dice_median": float(trip["dice"].median()),
    }
)
