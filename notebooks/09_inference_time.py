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
# # How long does a patient take?
#
# **How many seconds does each method need for one patient, and for which step?**
#
# The paper gives one number a method, all steps included. This chapter sets ours beside them and shows where the time
# goes.
#
# - Reads: the times that preparation and segmentation recorded beside every result, and `reports/bench`, which
#   `flairnb bench` leaves.
# - Leaves: `tables/inference_time.tsv`, `tables/inference_stages.tsv`.
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
from IPython.display import display

import flairnb
from flairnb.report import bench_page, ledger, timing

run = flairnb.start("09", profile, seed, data_dir, out_dir, overrides)
run

# %% [markdown]
# ## By method
#
# Mean and SD over the validation patients, from the images on disk to the mask on the FLAIR's own grid: brain
# extraction, resampling, loading the network, applying it, the way back. The times were recorded when the work was done;
# only the loading of the network is measured now, once, and charged to every patient of the two networks, as the paper does.

# %%
seconds = timing.seconds_by_stage(run)
table = run.save(timing.summary(seconds), "tables/inference_time.tsv")
table.round(2)

# %% [markdown]
# Methods that record no time of their own are not in the table. Every method is charged the whole preparation, also the
# steps that it could do without.

# %%
stages = run.save(timing.stages(seconds), "tables/inference_stages.tsv")
run.keep(timing.chart(table, stages), "inference_time")

# %% [markdown]
# Open diamonds are the paper's times: the network on a Titan Xp graphics processor, LST and BIANCA on a processor that
# is not named. Ours are of this machine, at this profile's voxel size: halving the edge of a voxel makes eight times as
# many. Only the `paper` profile may be set against the paper. If the network's own step were not the longest, a faster
# processor for it would gain little.

# %%
stages.round(3)

# %% [markdown]
# The same by step: a step that some patients did not need counts as 0 in them (`n`: how many had it), so that steps add up to the
# mean of their method. Brain extraction and registration work at a fixed coarse resolution and hardly depend on the
# profile; the network's step does.

# %% [markdown]
# ## One real patient, everything included
#
# The table above is of this run: its cohort (in the simulated profiles simulated heads) at this profile's voxel size. What
# `flairnb segment` costs at the paper's 1 mm was measured once, on **public examinations of real people**, and is committed;
# below is that measurement, not one of this run. Each kind of input was done several times, each time by a fresh process that
# had to load everything: median, lowest and highest.

# %%
measured = bench_page.read()
bench_page.patients(measured).round(2)

# %% [markdown]
# `floor_s`: the network's additions and multiplications for this brain, at the rate at which this machine multiplies
# large matrices. No program that does these operations one by one gets below it. `processor_s` adds up what all
# cores worked. The machine, how busy it was in the minute before each part (`load`, running programs), and the commit of the code that was
# measured; parts of one commit are of one run:

# %%
display(bench_page.machine())
run.keep(bench_page.chart(measured), "benchmark")

# %% [markdown]
# Dashed: the paper's times (LST's lies far to the right and is left out). The black bar is where the network's own step
# would end at its floor. `prepare` is only what is left of the preparation (`preparation_s` above) when the network is
# loaded. Against other ways to the same kind of result:

# %%
bench_page.ratios(measured).round(2)

# %% [markdown]
# Above 1, ours takes less. The comparison methods are our own code on one thread; the paper's seconds are those of the
# original programs on another machine, so those ratios compare machines as much as methods.
#
# Other ways to do the network's pass, on one simulated head. Shipped is what all processors do alike: bfloat16 is faster
# where a processor has it, and changes the answer by a little; elsewhere it would be slower. In this network batch norm
# follows the ReLU, so it cannot be folded into the convolution before it; with frozen weights its factors alone are constants.

# %%
display(bench_page.tries(measured).round(4))
bench_page.laws(measured).round(3)

# %% [markdown]
# How cost grows. An exponent of 1 means: twice the voxels, or twice the cases, twice the seconds. Below 1 a fixed cost is
# shared. `by cases` is one simulated patient again and again in one process, so that nothing but the number changes; what memory
# a further case takes dies out after a few. `agreement`: Dice between the masks of the fast way and of the slow one (finer
# registration and N4, dense cubes) over real patients, median, lowest and highest. `network`: one pass against dense cubes after
# the same preparation; `preparation`: the fast one against the slow one, one pass after both; `all`: fast against slow altogether.
#
# ## Many patients, and the whole training

# %%
bench_page.a_year(measured)

# %% [markdown]
# The paper counts some 36 million MR examinations a year in the United States, 65% of them of the central nervous system. So many
# machines like the measured one, or processor cores working all day and night, would keep up. Cases do not depend on each other:
# `flairnb run --dask` gives them to as many machines as there are.

# %%
bench_page.full_training().round(1)

# %% [markdown]
# The paper's training, by the number of operations alone: on one Titan Xp at three tenths of its peak, and on eight with
# nothing lost between them (there in batches of eight: six patches do not divide over eight). What an update costs here, with
# patches cut meanwhile (`pipeline`) and without:

# %%
bench_page.updates(measured).round(2)

# %% [markdown]
# On two cores the cutting of patches takes from the same cores that the network works on; where patches cost as
# much as the network's own work, no pipeline hides them. Settings are the demo's, in single precision.
#
# ## The paper's numbers and ours

# %%
numbers = timing.numbers(run, seconds, table)
ledger.beside(run, numbers)

# %% [markdown]
# A radiologist's fifteen to twenty minutes cannot be simulated. Times depend on what else the machine is doing: seconds and
# minutes, here and in chapters 02 to 04, change from run to run; other numbers do not.

# %%
run.finish(numbers=numbers)
