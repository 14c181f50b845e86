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
# # Finding lesions in new patients
#
# **Given a new FLAIR, where does the network see lesion, and how long does it take?**
#
# The trained network is applied to every validation case, and so are the methods that the paper compares it with, in our
# own code, and the simplest method anyone could think of: call everything brighter than a fixed threshold a lesion.
#
# - Reads: the prepared cases of 02_preprocessing and the weights of 03_training.
# - Leaves: lesion masks of all methods on each FLAIR's own grid, `tables/timing.tsv`, `tables/baselines.tsv`,
#   `tables/baseline_tuning.tsv`, `tables/threshold.json`.
# - Takes: three to eleven minutes in `demo`.
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
from flairnb.report import baseline_fit, methods, quality, results, views

run = flairnb.start("04", profile, seed, data_dir, out_dir, overrides)
run

# %% [markdown]
# ## What the network is compared with
#
# The paper runs LST and BIANCA without naming a setting. Ours are written from the methods' own papers, not the programs
# themselves, and say so in their names. **LGA** (Schmidt 2012) sorts the T1w into tissues, asks where the FLAIR is brighter
# than its tissue should be, and lets lesions grow from the surest such places. **LPA-style** weighs brightness on the FLAIR
# and the place in the brain by a logistic regression. **BIANCA-style** (Griffanti 2016) looks up the 40 most similar
# training voxels in FLAIR, T1w and place, and counts how many were lesion. The **plain threshold** is one number.
#
# Each has a value to set. All are chosen here on the *training* cases, by the best mean Dice; LGA is also kept at its
# published kappa of 0.3.

# %%
tuning = baseline_fit.fit_baselines(run)
results.chosen_values(tuning)

# %% [markdown]
# A method that is tuned on its own kind of patients gets the best chance it can have. Leave that out and the network wins by
# its opponents' settings; the paper does not say how it was.

# %%
run.keep(views.tuning_curves(tuning), "baseline_tuning")

# %% [markdown]
# A flat curve means that the choice hardly matters; a curve whose ring sits at its edge means that the true best lies
# outside what was tried. BIANCA's exclusion mask (cortex, deep grey matter, cerebellum) helps where lesions lie in white
# matter and costs every tumour that reaches the cortex.

# %%
baselines = methods.apply_baselines(run)
quality.status_summary(baselines, by="method")

# %% [markdown]
# Bright voxels that are no lesion, such as fat, flow, or the rim of the ventricles, all pass a threshold. What the other
# methods add is to know where brightness is normal; 05_accuracy measures how much that is worth.

# %% [markdown]
# ## The network
#
# The result is a probability for each voxel. It is brought back to the FLAIR's own grid by linear interpolation and cut
# at one half there; the paper resamples "back into native space" and leaves open how.

# %%
timing = methods.segment_validation(run)
quality.status_summary(timing)

# %% [markdown]
# Each case's mask lies exactly on the grid of its FLAIR, slice for slice, so that it can be laid over the original
# images in any viewer.

# %%
run.keep(views.segmentation_example(run), "segmentation_example")

# %% [markdown]
# The network's outline against the reader's, in the patient with the median lesion volume. Where only one of the two
# lines is drawn, the methods disagree: inside the reader's alone lies what was missed, inside the network's alone what was
# invented.

# %% [markdown]
# ## The network that ships with the package
#
# The network above learned in this run, from this run's training cases. Another one comes with the package: trained for
# longer on simulated heads of a wider kind, and tested on real patients (13_real_patients). Here it meets the same cases.

# %%
shipped = methods.segment_with_shipped(run)
quality.status_summary(shipped)

# %% [markdown]
# It has never seen this cohort; the run's own network has trained on its neighbours. In `smoke` it is left out.

# %% [markdown]
# ## Tiles or one pass
#
# The paper's graphics processor could not hold a whole brain, so the brain was covered with overlapping 96 mm cubes,
# 32 mm apart, and the predictions averaged. A computer with enough memory can do the brain in one pass. Do both ways
# find the same lesions?

# %%
agreement = run.save(methods.compare_methods_of_inference(run), "tables/tiled_and_whole.tsv")
agreement.drop(columns="participant_id")

# %% [markdown]
# The two are not identical, because a voxel near the face of a cube sees less of its surroundings; averaging blurs that
# away. A Dice between the two masks well below 0.95 means that the size of what the network is shown decides what is a
# lesion. The `demo` profile trains on cubes of 32 voxels, which are 2 voxels wide at the bottom of the U: there all taps
# of the dilated 3x3x3 convolution but the central one lie outside, learn nothing and keep their random first values. In
# one pass they meet a brain, and what they make of it is chance. So a network is shown cubes of the size that it learned
# on, unless that was 64 voxels or more.

# %% [markdown]
# ## Time for one patient
#
# The paper reports 28.2 seconds for a patient, everything included, on a Titan Xp; a radiologist needs 15 to 20 minutes.

# %%
run.keep(views.timing_chart(timing), "timing")

# %% [markdown]
# Ours are seconds on this machine's processor at this profile's voxel size, without loading the network. Coarser voxels
# make everything faster, so only the `paper` profile's times may be set against the paper's.

# %%
run.finish(numbers=results.inference_numbers(timing, agreement, tuning, baselines))
