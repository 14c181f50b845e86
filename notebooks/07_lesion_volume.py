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
# # How much lesion is there?
#
# **How well does each method measure the total lesion volume, and how does lesion size drive every score?**
#
# This chapter repeats the paper's Figure 4A to F and On-line Figure 1, and takes up the one number of the paper that
# does not add up: the error of the volume.
#
# - Reads: `tables/scores.tsv` and `tables/lesions.tsv` of 05_accuracy, the readers' masks.
# - Leaves: `tables/volumes.tsv`, `tables/volume_bins.tsv`, `tables/lesion_bins.tsv`.
# - Takes: less than a minute in `demo`.
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
from flairnb.evaluate.strata import bin_tests
from flairnb.report import ledger, results, volume

run = flairnb.start("07", profile, seed, data_dir, out_dir, overrides)
run

# %% [markdown]
# ## Predicted and true volume
#
# Spearman's rank correlation says whether patients keep their order, the slope of the best-fit line whether large
# volumes come out too small. The percentage errors are shown twice: by the standard formula (root of the median, or the
# mean, of the squared percentage errors), and by the reading that would make the paper's printed values fit its own
# correlations, with the per cent sign inside the root. The last four columns are the ratio of predicted to true volume
# (`ratio`, between its 95% limits of agreement `ratio_low` and `ratio_high`: Bland and Altman, on logarithms) and `ratio_n`, the
# number of patients in whom both volumes are above zero.

# %%
scores, lesions = results.load_scores(run)
volumes = run.save(volume.volume_table(scores), "tables/volumes.tsv")
volumes.round(3)

# %% [markdown]
# The second reader's row is the measure of what is possible: no method can be expected to agree with the first reader
# better than another radiologist does. For simulated patients that row is **simulated** too.

# %% [markdown]
# ## Figure 4A
#
# Each point is one patient; the paper's axes are linear, ours are logarithmic, because on linear axes a third of the
# diseases would lie on one spot at the origin.

# %%
run.keep(volume.scatter(scores, volumes), "volume_scatter")

# %% [markdown]
# Points above the line are volumes that are too large. If a method marked a constant amount of normal brain in everyone,
# its points would rise above the line on the left and touch it on the right. Read the slope with care: it is a
# least-squares slope on the linear scale and follows the few largest lesions.

# %% [markdown]
# ## Agreement

# %%
run.keep(volume.agreement(scores), "volume_agreement")

# %% [markdown]
# The solid line is the bias, the dashed lines hold 95% of the patients: between them a single patient's measured volume
# must be expected to lie. A correlation near one can hide limits of half and twice the true volume; a follow-up that is
# to show a growth of a fifth needs limits closer than that.

# %% [markdown]
# ## Figure 4B and C: by total lesion volume
#
# Dice, and the false discovery rate (share of the marked voxels that are no lesion). Marks as in the paper: an asterisk
# where the network is better than a method with P < .01, not corrected; a hash for the second reader with P < .05. The
# bins are ours, because the paper's can be read off its figure only. A patient without any true lesion is in none of them.

# %%
tests = run.save(bin_tests(scores, "volume_bin"), "tables/volume_bins.tsv")
run.keep(volume.by_total_volume(scores, tests), "by_total_volume")

# %% [markdown]
# Part of the rise of Dice with volume is arithmetic: the same shell of wrong voxels at the border is a smaller share of
# a larger lesion. A curve that falls again at the largest volumes, as the paper reports for LST and BIANCA, is not
# explained by that.

# %% [markdown]
# ## Figure 4D: by disease

# %%
run.keep(volume.diseases(scores), "disease_scatter")

# %% [markdown]
# The paper sees no clusters by cause of disease. If cause mattered beyond lesion size, markers of one shape would lie
# above or below the general trend together.

# %% [markdown]
# ## Figure 4E: by the size of single lesions

# %%
size_tests = run.save(bin_tests(scores, "lesion_bin"), "tables/lesion_bins.tsv")
run.keep(volume.by_lesion_size(scores, size_tests), "by_lesion_size")

# %% [markdown]
# Many small lesions can add up to the volume of one large one. If this curve is steeper than that of Figure 4B, the size
# of the single lesion decides, not the total.

# %% [markdown]
# ## On-line Figure 1: what is invented, what is missed

# %%
run.keep(volume.errors_by_lesion_size(scores, lesions), "errors_by_lesion_size")

# %% [markdown]
# Left and middle: the volume that is wrongly marked and the volume that is missed, over the true volume of the patient.
# Right: the share of single lesions that were touched at all; its bars are over patients, since the lesions of one
# patient are found or missed together. A method whose errors are all at borders has a right curve
# at one whatever its other two do.

# %% [markdown]
# ## Figure 4F: both samples

# %%
run.keep(volume.histograms(run), "lesion_volumes_by_sample")

# %% [markdown]
# Validation patients are meant to look like training patients. Where a bar of the validation sample stands without one
# of the training sample, the network is asked about sizes that it has never seen.

# %%
numbers = volume.numbers(run, scores, tests)
ledger.beside(run, numbers)

# %% [markdown]
# The paper's numbers and ours, with 95% intervals by resampling patients. Why they may differ. In the simulated profiles: patients
# who are simulated and, but for `phantom`, coarser voxels (which alone change small volumes by a lot) and one network trained for
# minutes. On a cohort of your own: other patients, scanners and readers. 12_audit asks what the printed percentage errors can mean.

# %%
run.finish(numbers=numbers)
