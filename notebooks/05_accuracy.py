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
# # How good are the outlines?
#
# **How close does the network come to the reference reader, and does it beat the other methods?**
#
# This chapter scores every validation case on its own grid and repeats the paper's Figure 1A, Table 2 and Figure 3: the
# network (CNN), a second reader, and the comparison methods of 04_inference, re-implementations under their own names.
#
# - Reads: the masks that 04_inference left, and the readers' masks.
# - Leaves: `tables/scores.tsv`, `tables/lesions.tsv`, `tables/table2.tsv`, the report's key figures.
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
from flairnb.evaluate.summary import compare_methods
from flairnb.report import accuracy, ledger, quality, results, steps, views

run = flairnb.start("05", profile, seed, data_dir, out_dir, overrides)
run

# %% [markdown]
# ## The scores
#
# - **Dice**: twice the shared volume over the sum of both volumes; 1 is perfect, 0 no overlap.
# - **Sensitivity**: share of the reference's lesion voxels that were found. **Specificity**: share of the brain's other
#   voxels that were left alone; it is near 1 for anyone, because most of a brain is not lesion.
# - **PPV** (positive predictive value): share of the marked voxels that are lesion; the false discovery rate is 1 - PPV.
#
# Where the reference has no lesion, a method that marks anything has a Dice of 0. One that rightly marks nothing has none: it
# is counted as undefined, never as 0 or 1. So methods can have medians over different numbers of patients (`n` below a bar),
# and a paired test leaves out the patients in whom one of its two methods has no Dice.

# %%
scores = steps.score_validation(run).scores
quality.status_summary(scores, by="method")

# %% [markdown]
# Every method is scored on the same patients. A method with fewer scored cases than the others must not be compared with
# them by its median alone.

# %% [markdown]
# ## Figure 1A: Dice by method
#
# Bars are medians, whiskers one standard error of the mean, open diamonds the paper's medians on real patients.

# %%
tests = run.save(compare_methods(scores), "tables/dice_tests.tsv")
run.keep(views.dice_by_method(scores, tests), "dice_by_method")

# %% [markdown]
# The whisker says how well the average is known, not how much patients differ. A star marks a method whose **mean** is lower
# than the network's with P < .05, a hash a second reader whose mean differs, as in the paper. Bars are medians: a network that
# fails completely in some patients can have the higher median and the lower mean; then there is no star. In the simulated cohort the second
# reader is **simulated**, too: made from the true lesion and tuned to the agreement that the paper reports between its two
# radiologists. Its height is therefore an input, not a finding.

# %%
tests.round(4)

# %% [markdown]
# Paired two-tailed t tests on Dice, as in the paper: the same patients, the network against each other method. A
# positive mean difference favours the network. `effect_size_dz` is that difference over its SD; Wilcoxon's test, beside
# it, does not assume that differences are normally distributed. A difference that is not significant is not the same as
# none.
#
# ## All methods in one model
#
# The paper adds an ANOVA over the methods; its F and P stand in this chapter's last table. An ANOVA takes the methods'
# scores as if they came from different patients. The model here does not: one level a method, and one for each patient,
# drawn from a normal distribution (a mixed model).

# %%
accuracy.together(scores).round(4)

# %% [markdown]
# `difference` is the network's Dice minus the method's. The model takes one spread for all methods, so `se` is the same in every
# row, while a t test takes each pair's own: the two can disagree. Missing scores can add to it. The last column is the smallest
# true difference, in SD, that a paired test would find in four of five studies, with the patients whom both
# methods have. Where differences are the same in every patient, nothing can be tested, and `note` says so.

# %% [markdown]
# ## Table 2
#
# Medians over patients with their standard error, the paper's value beside ours, and a 95% interval from resampling the
# patients (bootstrap). RMdSPE is the root of the median squared percentage error of lesion volume.

# %%
table2 = run.save(results.table2(run, scores), "tables/table2.tsv")
table2.astype(object).fillna("-")

# %% [markdown]
# Why ours may differ. In the simulated profiles: patients who are simulated and, but for `phantom`, a smaller network, minutes
# of training, coarser voxels, one to a few cases of a disease. On a cohort of your own: other patients, scanners and readers,
# and the settings that the paper does not print. The printed RMdSPE cannot be a plain percentage beside the Dice of the same
# column; 12_audit takes that up, and both readings are shown.

# %%
accuracy.intervals(run, scores)

# %% [markdown]
# The medians once more, with 95% intervals by resampling the patients. Two methods whose intervals overlap may still
# differ, because both were tried on the same patients: the paired tests above see that, this table does not.

# %% [markdown]
# ## Figure 3: look at them
#
# Numbers can hide an outline in the wrong place. One slice of several diseases: the FLAIR alone, with the network's
# outline, with the reader's.

# %%
run.keep(views.examples(run), "examples")

# %% [markdown]
# Go through the rows and ask what a radiologist would: is the largest lesion found, is its edge where you would draw it,
# is anything marked that is normal? In the paper small lesions are where the network and the readers fail first; a network that
# has trained for minutes also misses large faint ones.

# %%
run.save(results.key_numbers(table2, simulated=run.settings.cohort.source == "phantom"), "tables/key_numbers.tsv")

# %% [markdown]
# This short table opens the report. In the simulated profiles ours come from simulated patients and the paper's from real ones:
# they stand side by side for orientation and are no comparison of like with like. Two cohorts of real patients differ, too.
#
# ## The paper's numbers and ours

# %%
numbers = accuracy.numbers(run, scores, tests, table2)
ledger.beside(run, numbers)

# %% [markdown]
# Intervals are of the median or mean over patients, by resampling them; a row without ours says why.

# %%
accuracy.order(scores)

# %% [markdown]
# An order found on phantoms can mislead: phantoms are drawn from the same recipes that the network and the
# tuned methods were trained on, and their lesions are bright by construction. A method that models healthy tissue has
# less to be right about here than in people.

# %%
run.finish(numbers=numbers)
