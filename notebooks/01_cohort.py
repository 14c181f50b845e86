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
# # The cohort
#
# **Who is in the study, and how different are their scanners?**
#
# This chapter makes or checks the cohort, repeats the paper's Table 1 for it, and shows what the images look like.
#
# - Reads: nothing, or your own `manifest.tsv` when you give `data_dir`.
# - Leaves: `manifest.tsv` (one row an examination), the images under `rawdata/`, `tables/table1.tsv`.
# - Takes: two to four minutes in `demo`, about three seconds of one core a patient; at the phantom profile's 1 mm some nine.
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
from flairnb.cohort.table1 import count_given, table1
from flairnb.report import quality, steps, views

run = flairnb.start("01", profile, seed, data_dir, out_dir, overrides)
run

# %% [markdown]
# ## Patients who do not exist
#
# The paper's 387 patients cannot be shared. Unless you bring your own, the cohort is therefore **simulated**: each
# *phantom* is a head with scalp, skull, fluid and brain, lesions placed as one of 19 diseases tends to place them, and
# images computed with the MR signal equation for one scanner's field strength and timing, with its noise, its uneven
# sensitivity and, in most cases, its thick slices. We know where every lesion is because we put it there.
#
# The paper drew five cases of each disease at random for *validation*, that is, for testing a network that never saw
# them; diseases with fewer than five cases went to validation entirely, and 20 healthy brains were added to training.

# %%
cohort = steps.make_cohort(run)
run.save(cohort.drop(columns=["flair", "t1w"]), "tables/cohort.tsv")
counts = pd.crosstab(cohort["diagnosis"], cohort["split"], margins=True, margins_name="all")
counts

# %% [markdown]
# In the paper: 295 training cases and 92 validation cases (18 diseases with five, Susac syndrome with two). The `demo`
# profile keeps all 19 diseases but only a few cases of each, so that a laptop can follow. If a disease were missing
# from this table, the per-disease results of the later chapters would silently be about fewer than 19.

# %% [markdown]
# ## Table 1: the scanners
#
# Clinical images come from whatever scanner had a free slot. Field strength changes the contrast; a *2D* acquisition
# has slices several millimetres thick with gaps between them, a *3D* one has nearly cubic voxels; TE and TR (echo and
# repetition time) set how bright a lesion is against normal brain. The table puts our counts beside the paper's; "-" is what
# the cohort does not give.

# %%
scanners = run.save(table1(cohort), "tables/table1.tsv")
scanners

# %% [markdown]
# Most examinations are 2D at 1.5 tesla, in the paper as here. Expect 3D and 3 tesla to be somewhat more frequent in our
# small profiles than in the paper, because a handful of cases has to cover every kind of scanner. Two percentages of
# the printed table do not follow from their own counts; the notes mark them.

# %% [markdown]
# ## One patient of each disease
#
# Every panel is the slice with most lesion of one patient, lesion outlined in colour. Radiological convention: the
# patient's right (R) is on the left of the picture.

# %%
run.keep(views.contact_sheet(run), "contact_sheet")

# %% [markdown]
# Look for what each disease should do: small round spots around the ventricles in multiple sclerosis, one large mass in
# glioma, symmetric white matter in adrenoleukodystrophy, cortex and subcortex at the back of the head in PRES. Where a
# panel looks wrong to you, it is wrong in the training data too: a network can only learn the diseases it is shown.

# %% [markdown]
# ## How much lesion
#
# Dice, the overlap score of the later chapters, depends strongly on lesion size: one voxel of error at the rim of a
# tiny lesion costs more than a hundred at the rim of a large one. So the volumes come first.

# %%
volumes = quality.reference_volumes(run)
run.keep(views.volume_histogram(volumes), "lesion_volumes")

# %% [markdown]
# Most diseases lie between 1 and 100 ml; Susac syndrome and migraine are meant to be tiny. In the paper the diseases with small
# lesions (migraine, multiple sclerosis, neuromyelitis optica, Susac syndrome) have the network's lowest Dice scores.
#
# A mask that cannot be read has no volume:

# %%
quality.unread_masks(volumes)

# %% [markdown]
# Such a case fails again in 02_preprocessing and is left out from there on. Correct its mask and run this chapter again.

# %%
run.finish(
    numbers={
        "subjects": len(cohort),
        "training": int((cohort["split"] == "train").sum()),
        "validation": int((cohort["split"] == "validation").sum()),
        "diagnoses": int(cohort["diagnosis"].nunique()),
        "three_tesla": count_given(cohort["field_strength_t"], cohort["field_strength_t"] > 2),
        "acquired_3d": count_given(cohort["dimension"], cohort["dimension"] == "3D"),
        "median_lesion_ml": float(volumes.loc[volumes["volume_ml"] > 0, "volume_ml"].median()),
    }
)
