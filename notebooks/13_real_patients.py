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
# # Does it work on real patients?
#
# **How well does the shipped network, trained on no patient at all, find the lesions of real patients?**
#
# In the simulated profiles the scores of the chapters before are of simulated patients, who are more alike than real ones, and
# easier for the methods that are fitted to them. Here, whatever the profile, the network that comes with the package meets public examinations with a reader's mask:
# multiple sclerosis in thick slices and in 3D, and gliomas. A healthy brain shows whether it can also keep quiet.
#
# - Reads: what `flairnb fetch` put on disk, by `data_manifest/public*.tsv`; without any it shows the committed results.
# - Leaves: `tables/real_cases.tsv`, and beside it where the network errs (`tables/real_errors.tsv`) and what a voxel size costs
#   (`tables/real_grid.tsv`); in the `public` profile with all cases, `reports/robust/`.
# - Takes: about half a minute for each case; where comparison methods are fitted, about two minutes.
#
# For research and teaching only, not for clinical use.

# %% tags=["parameters"]
profile: str = "demo"  # smoke, demo, phantom, public or paper; 00_start_here explains them
seed: int = 2019  # every random draw of the run follows from it
data_dir: str = ""  # folder of your own data; empty for the simulated cohort
out_dir: str = ""  # work folder; empty for the profile's folder under work
overrides: str = ""  # settings to change; words of section.name and value, see 00_start_here

# %%
from IPython.display import display

import flairnb
from flairnb.report import published_scores, real, real_errors, real_grid, real_record, real_trust, spoiled

run = flairnb.start("13", profile, seed, data_dir, out_dir, overrides)
run

# %% [markdown]
# ## Which patients are here?
#
# These cases were looked at while the training generator was written, and the weights were chosen by them. That makes
# them *development* cases: their scores flatter. None of them was ever trained on.

# %%
cases = real.find_cases(run)
cases[["participant_id", "family"]]

# %% [markdown]
# No row means that nothing was fetched; what follows is then the result that its makers measured and committed. BraTS (the
# gliomas) asks for a registration, so those images cannot be fetched by a command.

# %% [markdown]
# ## The scores
#
# Dice between mask and reader on the FLAIR's own grid, for the shipped network and, where a run of notebook 04 fitted
# them, the comparison methods. Those learned on simulated patients, too, but on voxels of 2 mm, where the network has 1 mm. So
# they are applied twice: at the size that they learned at (this table), and at the network's.

# %%
table = real_record.segment_or_recall(run, cases, baselines_mm=(2.0, 1.0))
real.wide(table)

# %% [markdown]
# Compare `expected_dice` with the Dice beside it: the network's own estimate, made without the reader. Where it is low
# and the Dice is low as well, the warning that `flairnb segment` prints is worth having.

# %%
real_trust.show(run, table)

# %% [markdown]
# On the diagonal a network means what it says: of the voxels to which it gives 70%, a reader marked 70%. Calibration
# (one number, the temperature, fitted on these same patients) moves the curve. If the points on the
# right lay on no line at all, the expected Dice would be worthless as a warning.
#
# Does it notice what it should never be given? The same patients, spoiled on purpose: another sequence, the skull left in, a
# brain mask in the wrong place, noise, shading, blur (committed measurement, `reports/robust/spoiled.tsv`). `network unsure`: the
# warning from the expected Dice, or that nothing was found; `any warning`: also those from looking at the images.

# %%
display(spoiled.show())
real.summarise(table)

# %% [markdown]
# With this few cases a median moves by several hundredths when one patient is exchanged. The paper's network, trained on
# patients of the same hospital, reached 0.79 over its diseases. "(1 mm)" is a comparison method at the network's voxel size.
#
# **Is the comparison fair?** A grid alone costs Dice: below, `reader's own mask` is the reader's mask taken to that voxel size
# and back by the way that every method's answer takes: what it would score to answer exactly like the reader on that grid. No
# bound: an answer in fractions of a voxel, or one sharpened by the image, can score more.

# %%
real_grid.beside_others(run, table)

# %% [markdown]
# MS lesions lose much at 2 mm, those on thick slices something at 1 mm as well, gliomas next to nothing. Yet finer is not simply
# better for the comparison methods: their cuts were chosen where a voxel averages eight smaller ones, and at 1 mm noise passes
# them. Fitted at 1 mm, they might do better than at either size; that was not tried.

# %%
real_grid.verdict(table)

# %% [markdown]
# "Highest" is a matter of hundredths in some cases, and the weights were chosen by these very cases; no comparison method was.
#
# ## What others publish
#
# Printed numbers of other programs, and of readers, on the same families of disease (`data_manifest/published_scores.tsv` has the
# sources). **No order may be read off**: patients, readers, images, resolution and the way of averaging differ from row to row,
# and ours are a handful of cases by which the weights were chosen.

# %%
published_scores.context(table)

# %% [markdown]
# ## Best, median, worst
#
# Red is what is marked: by the reader, and by the network.

# %%
real_record.show_examples(run, cases, table)

# %% [markdown]
# Ask of the worst case why: an edge drawn elsewhere, lesions missed, or something marked that is normal? In thin lesions
# an edge moved by half a voxel already costs much of the Dice; a missed lesion costs the patient more.
#
# ## Where it errs
#
# What the reader marked and the network did not, and the reverse, case by case; the worst first, the healthy last. *At the
# border* is within a voxel (its diagonal, in the slice) of what both marked; *whole* are lesions that the other did not touch.

# %%
errors = real_errors.recall(run)
real_errors.sentences(errors)

# %% [markdown]
# The same in numbers. `border_ml`, `further_ml` (deeper in, or farther off, a lesion that both found) and `whole_ml` add up to `ml`;
# `surface_ml` cuts across them.

# %%
errors.round(2)

# %% [markdown]
# ## How it was trained
#
# From the card that comes with the weights. `reports/robust/training.md` has the whole course.

# %%
real_record.training_summary()

# %% [markdown]
# Hours on two processor cores, not days on a graphics card. Later stages of training from these weights were tried and did not
# help (`reports/robust/training.md`); whether far longer training would is not known.

# %%
real_record.publish(run, table)

# %% [markdown]
# What is committed is what README and model card quote; it changes only with a complete run of the `public` profile.

# %%
run.finish(numbers=real.numbers(table))
