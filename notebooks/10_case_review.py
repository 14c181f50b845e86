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
# # Case review
#
# **Would you sign this outline, and if not, where would you draw it?**
#
# A radiologist's room: pick cases, look at them from all sides with the outlines on top, give a verdict, correct a mask.
#
# - Reads: the cohort and masks of this run, the public patients of 13_real_patients, or any folder that `flairnb segment`
#   wrote.
# - Leaves: `tables/review_cases.tsv`; with a reader at work also `review/review.tsv` (one line for each verdict, never
#   changed) and `review/corrected/` (new masks, the old ones stay).
# - Takes: less than a minute; reading a case takes you a minute or two.
#
# For research and teaching only, not for clinical use.

# %% tags=["parameters"]
profile: str = "demo"  # smoke, demo, phantom, public or paper; 00_start_here explains them
seed: int = 2019  # every random draw of the run follows from it
data_dir: str = ""  # folder of your own data; empty for the simulated cohort
out_dir: str = ""  # work folder; empty for the profile's folder under work
overrides: str = ""  # settings to change; words of section.name and value, see 00_start_here
interactive: bool = True  # the reading room with buttons; off when a program runs the notebook

# %%
import flairnb
from flairnb.report import review, review_cases

run = flairnb.start("10", profile, seed, data_dir, out_dir, overrides)
run

# %% [markdown]
# ## Which cases?
#
# Change the words in quotes and run the cell again.
#
# - `source`: `"cohort"` for this run, `"real"` for the public patients, or the name of a folder with results of
#   `flairnb segment`. The FLAIR must lie in that folder, in the one above, or in `data_dir`.
# - `split`: `"validation"`, `"train"`, or `""` for both. `diagnosis`: a key such as `"MSA"`, or `""` for all.
# - `order`: what comes first. `"dice"` (the network's agreement with the reader, worst first), `"expected_dice"` (the
#   network's own guess of it, made without the reader), `"volume_error_ml"` (largest first), `"volume_ml"` or `"case"`.

# %%
cases = review_cases.find_cases(run, source="cohort", split="validation", diagnosis="", order="dice", data_dir=data_dir)
run.save(review_cases.shown(cases), "tables/review_cases.tsv")

# %% [markdown]
# Compare the two columns of Dice. Where the expected one is high and the other low, the network was sure and wrong: read
# those first, for no warning came with them.
#
# ## The first case, standing still
#
# `blinded=True` hides the reference and shows the methods as A, B, C, in another order for each case and reader. Use it
# when verdicts are to be compared: a reader who knows which mask is the colleague's judges it more kindly. While it is on,
# the cells below name no method and show no score of a mask; switch it off, here or in the room, and run them again.

# %%
session = review.start_session(run, cases, reader="", blinded=False)
run.keep(review.still(session), "review_case")

# %% [markdown]
# Look from outside inwards: is the brain's outline (green) right, is every bright spot inside an outline, is there an
# outline where the brain is normal? Bright rims along the ventricles and the cortex near bone are the usual traps.

# %%
review.disagreement(session)

# %% [markdown]
# The same case in ml, whichever the room shows: what a mask shares with the reference, what it misses and what it adds. A
# network that misses little and adds much needs an eraser; one that misses much needs a second look at every slice.
#
# ## The reading room
#
# Type your initials first. All views move together; a click on a lesion in the list takes them there. One button shows the
# masks, the errors (missed, extra), the probability or the T1w; sliders set each layer's opacity and the grey window. Choose
# `itkwidgets` for volume rendering. Of the picture only brain and what a mask marks are there, with 4 mm around them, because
# a head in 3D shows a face; the masks are whole, and what you draw elsewhere is seen on black.
#
# A verdict is on the disk as soon as the button is pressed. *Accept*: you would sign it. *Minor edits*: a stroke or two.
# *Major edits*: you would rather start anew. To correct, open the panel below the list and draw on the slice with the mouse.
# The T1w lies where the registration of this case put it; where none was kept, its slider says `T1w by header`.

# %%
review.room(session, interactive)

# %% [markdown]
# If a grey box says that a model was not found, run `flairnb doctor` in a terminal: it says which part is missing.
#
# ## What was said so far
#
# Run these cells again after reading; the room stays at its case. A verdict given twice counts once, the last time.

# %%
review.so_far(session)

# %% [markdown]
# Two readers who each accept everything agree perfectly and have told you nothing. That is why kappa stands below: it takes
# away the agreement that chance alone would give, and counts accept against major edits as twice the distance.

# %%
review.together(session)

# %% [markdown]
# Do verdicts follow the score? Each verdict stands beside the Dice of the very mask that got it. A mask of high Dice that
# readers would rather draw anew has an error that Dice does not count.

# %%
review.verdicts_and_dice(session)

# %% [markdown]
# Below some twenty cases a kappa moves by a tenth or more when one verdict changes; say how many cases it is from.
# Corrected masks can train: name one as `reference_mask` in a cohort table, then `flairnb train --cohort ... --init ...`.

# %%
run.finish(numbers=review.numbers(session))
