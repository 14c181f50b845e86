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
# # The audit
#
# **Do the paper's numbers agree with each other, what do its open words cost, and which of its numbers do we have?**
#
# Nothing here judges the authors; every paper of this length has open ends. They are listed because a repetition has to
# decide each of them one way or the other.
#
# - Reads: the article's numbers (`data_manifest/paper_values.toml`), all earlier chapters' numbers, the trained network.
# - Leaves: `tables/checks.tsv`, `tables/ablations.tsv`, `tables/ablations_training.tsv`, `tables/ledger.tsv`.
# - Takes: one to three minutes in `demo`.
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
from flairnb.evaluate.ledger import tidy
from flairnb.report import ablation, ablation_training, audit, ledger

run = flairnb.start("12", profile, seed, data_dir, out_dir, overrides)
run

# %% [markdown]
# ## The printed numbers against each other
#
# Sums, percentages, and P values that follow from other printed numbers. Where a statistic is rounded, the range of P
# values that its rounding allows is given.

# %%
checks = run.save(audit.checks(), "tables/checks.tsv")
checks

# %% [markdown]
# A row that does not agree is a misprint or a number that means something else than we think; none of those found here
# touches a conclusion. Two percentages of Table 1 do not follow from their own counts, and one printed P does not follow
# from its F. The Discussion's few training cases a diagnosis cannot be the mean of the printed training sample; it may be
# meant for the rarest diseases.

# %% [markdown]
# ## What can tests with five patients find?
#
# The smallest true difference, in SD of the paired differences, that a paired t test finds in four of five studies (80%
# power), over the number of patients compared.

# %%
run.keep(audit.power_chart(), "power")

# %% [markdown]
# With two patients nothing could be found; with five, only differences about twice as large as what statisticians call
# large. That the network was "not statistically different" from the radiologist in 15 of 19 diseases is what one would
# read for a method that is clearly worse, too. All validation cases together are another matter.
#
# The curves hold for any measure and any method, ours included: no per-disease verdict of 06_disease can be better than
# this. The way out is more patients a disease, or one model over all (the mixed model of 05_accuracy).

# %% [markdown]
# ## What do the printed volume errors mean?
#
# The article prints a root median squared percentage error (RMdSPE) for each method. If it is a plain percentage, half
# of the patients have a smaller error. Beside it: ten times the printed value, which is what a per cent sign inside the
# root would make of it; the ratio of predicted to true volume that the medians of sensitivity and PPV give; the
# distance of that ratio from one; and our own error by the standard formula.

# %%
audit.volume_question(run).round(2)

# %% [markdown]
# Read the row of BIANCA: its sensitivity and PPV make the typical volume too large by far more than the printed error, and
# by just about ten times it. For the second reader a median error of one per cent would sit beside a third of the
# voxels that either reader marked in dispute. That the sign went inside the root is a **hypothesis** of ours; the ratio of two medians is no
# median of ratios, and only the on-line appendix could settle it.

# %% [markdown]
# ## A dilation factor of 2 in all layers
#
# Dilation spreads the points that a kernel looks at. Together with a stride of 2 it has a side effect: the layer reads
# every second voxel and never the others. Which voxels of the image can change the output at one voxel? White ones.

# %%
seen = audit.dilations(run)
run.keep(audit.dilation_maps(seen), "dilation")

# %% [markdown]
# If the literal reading were what the authors ran, an output voxel of even index would depend on a coarse lattice of input
# voxels only, and neighbours would be decided by different data. The profiles therefore dilate the stride-1 layers only.

# %%
audit.dilation_table(run, seen).round(3)

# %% [markdown]
# Parameters and arithmetic are the same for all three: neither the printed hardware nor the printed time can tell the
# readings apart. What they do to Dice, only training can tell: below.

# %% [markdown]
# ## How wide was the network?
#
# The width of the first block is not printed, nor is the memory of the graphics processor, but its name is (Titan Xp: 12 GB by
# its maker). The outputs of the convolutions alone, which training must keep, for the printed patch and batch:

# %%
audit.widths().round(2)

# %% [markdown]
# Everything together needs two to three times the column of outputs. A width beyond 16 would then not fit, unless the
# batch was spread over the two donated processors or the network had one convolution a block. Width 16 is therefore the
# `paper` profile's choice, and a guess.

# %% [markdown]
# ## Small choices, without training again
#
# One choice at a time in a few validation patients of middling lesion volume: the step of the tiles, the way back to the
# native grid, the border of the brain mask, the threshold. Grey lines are patients, bars medians. `as run` is tiles half of
# their size apart in `demo` and a third in `paper`; that choice is not drawn a second time.

# %%
table = run.save(ablation.ablations(run), "tables/ablations.tsv")
run.keep(audit.choices_chart(table), "ablations")

# %% [markdown]
# If a grey line falls steeply from one choice to the next, that choice decides more about the patient than the network's
# quality does, and a paper that does not print it cannot be repeated.

# %%
changes = ablation.summary(table)
changes.round(3)

# %% [markdown]
# `change` is the median change of Dice against the run as it was. So few patients show which choices matter at all; they do
# not measure by how much.
#
# ## Choices of training
#
# How the dilation is read, and how many of the patches hold lesion: the network trained anew for each, from two seeds,
# all for the same number of updates, two thirds as many as 03_training's in `demo`. The table is the committed one
# (`demo`, commit d09814c, in single precision, scored in tiles) unless `audit.training_epochs` asks this run to train.

# %%
trained = run.save(ablation_training.trained_ablations(run), "tables/ablations_training.tsv")
ablation_training.publish(run, trained)
run.keep(audit.choices_chart(trained, "seed"), "ablations_training")

# %% [markdown]
# A line joins one seed's trainings; Dice is the median over the simulated validation cases. Where two seeds of one choice lie
# as far apart as two choices, the picture decides nothing. The article prints none of this, so a repetition may differ from
# it by that much for these reasons alone.
#
# ## The ledger
#
# Every number that the article prints, with ours beside it; the whole table is `ledger.tsv` in the report's folder.

# %%
numbers = audit.numbers(run, seen, changes)
book = ledger.ledger_of(run, numbers)
run.save(tidy(book), "tables/ledger.tsv")
ledger.page(book)

# %% [markdown]
# Numbers of a small profile stand beside the paper's for orientation: the `paper` profile on a hospital's own patients is
# what would test them. A row without ours says why. The notes also mark where two numbers with one name may not be the same quantity.

# %%
run.finish(numbers=numbers)
