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
# # How it works: a lesson
#
# **How does a program find lesions on FLAIR, and when should you not believe it?**
#
# For residents, about 45 minutes, no programming. One simulated patient with small-vessel disease goes through the whole
# method; two others help out. Before each picture: say aloud what you expect, then look.
#
# - Reads: the trained network of 03_training, or the one that ships with the package; without any, those pictures are left out.
# - Leaves: nothing on disk.
# - Takes: one to three minutes to run, 45 minutes to learn from.
#
# In JupyterLab (`make lab`) sliders move the pictures and questions answer back; in a saved page the pictures stand still
# and answers open by a click. Code is folded away: three dots or a triangle open it.
#
# For research and teaching only, not for clinical use.

# %% tags=["parameters"]
profile: str = "demo"  # smoke, demo, phantom, public or paper; 00_start_here explains them
seed: int = 2019  # every random draw of the run follows from it
data_dir: str = ""  # folder of your own data; empty for the simulated cohort
out_dir: str = ""  # work folder; empty for the profile's folder under work
overrides: str = ""  # settings to change; words of section.name and value, see 00_start_here
interactive: bool = True  # sliders and questions that answer; off when a program runs the notebook

# %%
import flairnb
from flairnb.cohort.phantom.signal import flair_signal
from flairnb.network.unet import down_block
from flairnb.report import audit, lesson, lesson_doubt, lesson_learning, lesson_play, lesson_reach

run = flairnb.start("11", profile, seed, data_dir, out_dir, overrides)
patient = lesson.open_lesson(run, interactive)
run

# %% [markdown]
# ## 1. What FLAIR shows
#
# FLAIR turns all magnetisation upside down, waits for the inversion time TI, and reads what is there. A tissue whose
# magnetisation just passes zero gives no signal. The picture below follows from three numbers of each tissue (water content,
# T1, T2) and three of the protocol (TE, TR, TI), by this function of the package:

# %% jupyter={"source_hidden": true}
lesson_play.show_code(flair_signal)

# %% [markdown]
# **Predict**: at which TI is CSF black? At a shorter TI, will the lesion still shine?

# %% jupyter={"source_hidden": true}
lesson.play(
    patient, lesson.signal, ti_ms=(2500, 500, 4000, 50), te_ms=(120, 20, 300, 10), tr_ms=(9000, 3000, 15000, 500), field_t=(3, 1.5, 3, 1.5)
)

# %% [markdown]
# The blue line touches zero near 2.5 s: there CSF is black while a lesion, with a much shorter T1 and a long T2, is the
# brightest tissue. Shorten TE and the lesion melts into grey matter: its brightness is T2. Shorten TR and CSF's zero moves to
# the left, because it has not recovered; at 1.5 T the T1 of the tissues is shorter and their zeros move left, while CSF's stays.
# With a short TR the curves end early: the echo, TE after TI, must come before the next inversion.

# %% jupyter={"source_hidden": true}
lesson_play.ask("signal", interactive)

# %% [markdown]
# ## 2. Why not a simple threshold?
#
# Mark everything brighter than some value. **Predict**: is there a value that finds the lesions and nothing else?
#
# *Sensitivity*: the share of lesion voxels that is marked. *PPV*: the share of marked voxels that is lesion. *Dice*: twice
# the shared volume over the sum of both.

# %% jupyter={"source_hidden": true}
lesson.play(patient, lesson.threshold, cut_sd=(2.0, -1.0, 5.0, 0.1))

# %% [markdown]
# The two histograms overlap: the brightest grey matter is as bright as a lesion's rim. Moving the line trades one error for
# the other, and the best Dice on the way is all that brightness alone can give: the coil makes the back of the head brighter
# than the front, so that one value cannot fit both. Real patients add tissue that is bright by nature.

# %% jupyter={"source_hidden": true}
lesson_play.ask("threshold", interactive)

# %% [markdown]
# ## 3. The network looks at surroundings
#
# A U-Net is a chain of small filters (3 x 3 x 3 voxels). Going down, each block halves the resolution, so that the next
# filter sees twice as far; coming up, cross-links bring the fine edges back. One block, as this package builds it:

# %% jupyter={"source_hidden": true}
lesson_play.show_code(down_block)

# %% [markdown]
# **Predict**: how much of the head has one voxel of the deepest block seen: a gyrus, a lobe, or nearly all of it?

# %% jupyter={"source_hidden": true}
lesson.play(patient, lesson_reach.reach, block=(2, 0, 4, 1))

# %% [markdown]
# A filter sees a voxel and its neighbours, no more. After each halving the same filter spans twice as many millimetres: so a
# voxel comes to know whether it lies beside a ventricle or in the insula, which no threshold can.
#
# The article also spreads the taps of its filters (*dilation*): they see farther at no cost. **Predict** what is left out, if
# that is done where the resolution is halved, too. White voxels have a say in the middle one (orange), black ones have none.

# %% jupyter={"source_hidden": true}
audit.dilation_maps(audit.dilations(run))

# %% [markdown]
# Taken literally in layers with stride, the article's words make a sieve: seven of eight voxels have no say. 12_audit discusses
# which reading was meant.
#
# Now the patient's own slice on its way through the network. **Predict**: where is it coarsest, and what is bright there?

# %% jupyter={"source_hidden": true}
lesson.play(patient, lesson.blocks, feature=(0, 0, 7, 1))

# %% [markdown]
# The first blocks show edges and tissue; the deepest one has a few voxels and knows roughly where in the head it is; on the way
# up the cross-links bring back the edges. (The chessboard comes from doubling the resolution.) No single feature is "lesion":
# the answer is put together from all of them. A network trained for seconds (profile `smoke`) shows only blurred tissue.

# %% jupyter={"source_hidden": true}
lesson_play.ask("network", interactive)

# %% [markdown]
# ## 4. How it learns
#
# A network starts with random filters. It reads a head, compares its answer with the reader's outline (the *loss* says how
# wrong it is), and every filter is changed a little so that the loss falls. Here a very small one learns from one slab of a
# head with large lesions while you watch. **Predict**: will it do as well on another patient?

# %% jupyter={"source_hidden": true}
lesson.play(patient, lesson_learning.learning, steps=(60, 0, 60, 5))

# %% [markdown]
# Both curves fall, and part: what helps on one head only is learned, too. The article's network saw 295 examinations and more than
# half a million updates.
#
# A large head does not fit into the memory at once, so the article cuts it into cubes. **Predict**: what goes wrong where two
# cubes meet?

# %% jupyter={"source_hidden": true}
lesson.play(patient, lesson_learning.overlap, parts=(2, 1, 4, 1))

# %% [markdown]
# At a cube's edge (orange) half of the surroundings is missing: an answer may end there as if cut off. Cubes that overlap give
# each voxel several answers, seen from several places, and their mean is used. It is smoother; whether its Dice is better
# depends on the patient.

# %% jupyter={"source_hidden": true}
lesson_play.ask("learning", interactive)

# %% [markdown]
# ## 5. What a score means
#
# The network gives a probability for each voxel; a cut makes a mask of it. **Predict** the curves before you look: which of
# the two rises with the cut?

# %% jupyter={"source_hidden": true}
lesson.play(patient, lesson.cut, probability=(0.5, 0.02, 0.98, 0.02))

# %% [markdown]
# Where a network is sure, its Dice is flat around the middle, and the choice of the cut hardly matters. The more the curve leans
# to the left, the less sure it was: it sees the lesions, but says so at a low probability. The best place on one patient says
# nothing about the next.
#
# **Predict**: two readers draw the same lesion 2 mm apart. What is their Dice if it is small, what if it is large?
# Yellow is the first reader, blue the second.

# %% jupyter={"source_hidden": true}
lesson.play(patient, lesson.slip, shift_mm=(2.0, 0.0, 10.0, 0.5), larger_mm=(0.0, -4.0, 4.0, 0.5))

# %% [markdown]
# The slip is the same, the score is not: Dice measures overlap relative to size. That is why patients with few small
# lesions score low with every method and every reader, in the article too (its Figures 4B and 4E); 07_lesion_volume shows it. Draw the
# second outline farther out, without any shift: the same holds.
#
# Now two readers of one patient. A Bland-Altman plot shows for each lesion how far the two volumes are apart, over their mean.
# **Predict**: what does it look like when one reader draws every outline a little farther out?

# %% jupyter={"source_hidden": true}
lesson.play(patient, lesson_doubt.readers, larger_mm=(2.0, -2.0, 4.0, 1.0))

# %% [markdown]
# A correlation of volumes would hide this: both readers call the same lesions large. The plot shows the bias, and that it
# grows with size. Points below zero at the left are lesions that the second reader did not see.

# %% jupyter={"source_hidden": true}
lesson_play.ask("scores", interactive)

# %% [markdown]
# ## 6. When not to believe it
#
# A hunt: in four of these six slices the outlines are wrong, each in its own way. White is bright on FLAIR; yellow is what the
# method marked. Write down letter and error before you open the answer.

# %% jupyter={"source_hidden": true}
lesson_doubt.hunt(patient)

# %% [markdown]
# Written down? Two slices are right; whoever marks all six has found nothing.

# %% jupyter={"source_hidden": true}
lesson_play.fold(lesson_doubt.hunt(patient, reveal=True), "Reveal the errors")

# %% [markdown]
# The errors were planted. Networks mark bright normal tissue, leave the brain and miss lesions by themselves; a wrong side comes
# from a header that is read wrongly. To hunt among real results of this run, open 10_case_review and sort by Dice.
#
# ## For the teacher
#
# - **Before**: `make lab`, run all cells, leave the page at the top. Without a computer, the saved page works; answers open.
# - **Minutes**: 8 for FLAIR, 6 for the threshold, 10 for the network, 6 for learning, 10 for scores, 5 for the hunt.
# - **Let them be wrong first**: ask for hands before each picture. The threshold's failure and the small lesion's Dice are the
#   two surprises worth the wait.
# - **Common mistakes**: that FLAIR suppresses all fluid (only what has CSF's T1); that a high Dice means a good
#   volume; that an empty mask means a healthy brain.
# - **To go on**: 05_accuracy for methods against each other, 08_technical_factors for scanners, 12_audit for what the article
#   leaves open.

# %% jupyter={"source_hidden": true}
run.finish(numbers=lesson.numbers(patient))
