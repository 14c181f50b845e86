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
# # How large must a change be to be real?
#
# **If the same head is measured again, how much does its lesion volume change, and which change is more than that?**
#
# The paper ends by asking how such a network fares over time. A method that gives 4 ml today and
# 6 ml tomorrow for the same brain cannot tell whether a disease progresses. Here each head is stored, placed, sampled,
# lit and disturbed otherwise, and segmented again.
#
# - Reads: validation cases, fitted methods and network of this run (or the shipped one); real cases and the two sessions of one patient
#   where `flairnb fetch` put them.
# - Leaves: `tables/retest.tsv`, `tables/repeatability.tsv`; in the `public` profile with all cases,
#   `reports/robust/repeatability.tsv`.
# - Takes: one to six minutes in `demo` without real images; with them half a minute more for each real case.
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
from flairnb.report import retest, retest_summary, sessions

run = flairnb.start("14", profile, seed, data_dir, out_dir, overrides)
run

# %% [markdown]
# ## Seven times the same head
#
# - **again**: the very same image; anything but the same mask would be a fault.
# - **re-oriented**: the same voxels in another order in the file.
# - **shifted**: sampled half a voxel and less aside.
# - **re-noised**: with noise of 3% of the brain's mean signal.
# - **re-sliced**: slices a quarter thicker.
# - **rescaled**: all intensities multiplied by one number.
# - **other bias**: brighter on one side, by 30% from end to end.
#
# The brain mask is found once and carried along, so what scatters is the segmentation alone. Network and comparison methods do not
# work on the same grid: on real people the network has voxels of 1 mm, the comparison methods the 2 mm that they were fitted at.
# Larger voxels average more noise away, and cost Dice (notebook 13 has both sizes).

# %%
table = retest.repeat_cases(run)
retest_summary.by_repeat(table).round(3)

# %% [markdown]
# `again` and `rescaled` should change nothing and `re-oriented` next to nothing: an order in a file is no property of a
# brain. Dice between is the overlap of a repeat's mask with the first one, laid upon it in space.

# %%
run.keep(retest_summary.chart(table), "retest")

# %% [markdown]
# Every point is a case: circles are this run's cohort (the legend says whether it is simulated), squares the public
# examinations of real people. 95% of the ratios of two repeats should lie between the coloured lines (dashed: this run's cohort;
# dotted: the public ones), on the log scale whatever the table below chose; limits beyond 4 are drawn at the edge. Points that lie on
# one side for one kind of repeat are no scatter but a shift: a scanner that always cuts thicker slices always measures that
# much less, or more.

# %% [markdown]
# ## The smallest real change
#
# The within-subject SD is the scatter of repeats around their case's mean (Bland and Altman). Two single measurements
# of an unchanged brain differ by less than 2.77 of it in 19 of 20 pairs: the repeatability coefficient. On the log scale,
# chosen where large volumes scatter more than small ones, it becomes a percentage. Only the first image and the four that were
# disturbed count: `again`, `re-oriented` and `rescaled` are the same measurement once more, and would make the scatter look small.

# %%
summary = run.save(retest_summary.summarise(table), "tables/repeatability.tsv")
retest_summary.publish(run, summary)
summary.round(3)

# %% [markdown]
# `smallest_increase` of 0.3 on the log scale means: below 30% more, nobody can say that the lesions grew; on the plain scale it is
# in ml. `increase_fraction` is that of the log scale in any case. The smaller, the better, but only
# where Dice with the reader (`dice_first`) is good as well: a method that always marks the same wrong voxels repeats
# perfectly. A few cases give a rough figure; its interval stands beside it. `not_found`: how
# many of these `measurements` are without any lesion.
#
# Real examinations differ in more than this: the patient lies otherwise, the brain mask is found anew, the scanner
# is serviced. The true limit is larger than the one here.

# %% [markdown]
# ## One patient, two sessions
#
# A patient with multiple sclerosis, examined twice (open_ms_data). No reader's mask belongs to these images, so nobody here
# knows the answer; the question is only whether the measured change is larger than what repeats show.

# %%
result = sessions.compare_sessions(run, table)
result

# %% [markdown]
# `change`, `smallest_decrease` and `smallest_increase` are fractions of the first volume (0.3: 30% more), on the log scale
# whatever `scale` the table above has; `repeats_of` says of which cases. Dice here is the overlap of both sessions' masks after
# rigid registration. Volumes may agree while the masks do not: lesions come and go. A change "more than repeats of one image
# show" may still come from the scanner, not from the disease.

# %%
run.finish(numbers={**retest_summary.numbers(table), **sessions.numbers(result)})
