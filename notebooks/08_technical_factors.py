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
# # Does the scanner matter?
#
# **Does the network do worse on some scanners, field strengths, kinds of acquisition, or images from elsewhere?**
#
# This chapter repeats the paper's Figure 5A to C with its tests, and asks of each test what it could have found.
#
# - Reads: `manifest.tsv`, `tables/scores.tsv` and `tables/lesions.tsv` of 05_accuracy.
# - Leaves: `tables/technical.tsv`, `tables/scanner_models.tsv`.
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
from flairnb.evaluate.technical import all_factors, factor_tests, network_cases, outside_adjusted
from flairnb.report import ledger, results, technical

run = flairnb.start("08", profile, seed, data_dir, out_dir, overrides)
run

# %% [markdown]
# ## Figure 5A: scanner models
#
# Median Dice of the network by scanner model, models of one maker together. Every dot is a patient. Healthy brains, and any
# other patient without a true lesion, are left out of this whole chapter: their Dice is 0 or undefined on every scanner.

# %%
scores, lesions = results.load_scores(run)
cases = network_cases(scores)
models = run.save(technical.models(run, cases), "tables/scanner_models.tsv")
run.keep(technical.by_model(models, cases), "dice_by_model")

# %% [markdown]
# A bar far from the dashed line with one dot in it is one patient, and more likely a small lesion than a bad scanner. In the
# paper, too, five of the scanner models had a single validation case. A maker under several spellings is one here, and one that
# is not given is taken from other patients of the same scanner model. Simulated
# scanners differ in field strength, noise, slice thickness and timing, but not in the many ways in which real ones are odd.

# %% [markdown]
# ## The tests
#
# As in the paper: one-way ANOVA over scanner models and over makers, two-sample two-tailed t tests for the three
# factors with two groups. The paper does not say whether its t tests assume equal variances; the first P value does,
# Welch's beside it does not. The last column is what the test could have found with 80% power: Cohen's f for ANOVA
# (0.25 is called medium), Cohen's d for t tests (0.5 is called medium). `statistic`, `difference` and `effect_size` of a t test
# are above zero where the second group (3 T, 3D, outside) has the higher mean.

# %%
factors = run.save(factor_tests(cases), "tables/technical.tsv")
factors.round(3)

# %% [markdown]
# A P value above .05 with a detectable effect beyond "large" (0.4 for f, 0.8 for d) is a test that could not fail. An
# empty P value is a comparison for which this cohort has too few patients.

# %% [markdown]
# ## Figure 5B: does practice help?
#
# If the network learned each scanner model by itself, models with many training cases would score higher.

# %%
run.keep(technical.by_training(models), "dice_by_training")

# %% [markdown]
# The line runs through the medians of the models, each counted once however many patients it stands for, as the paper's
# P value implies (12_audit recomputes it). With sixteen points only a strong correlation would be noticed; the number in
# this chapter's last table says how strong.

# %% [markdown]
# ## Figure 5C: field strength, slices or volumes, home or outside

# %%
run.keep(technical.by_factor(cases, factors), "dice_by_factor")

# %% [markdown]
# An asterisk marks P < .05. The groups differ in more than their scanner: in the paper 3D acquisitions were preferred
# for patients with small lesions, and lesions from outside hospitals were larger. A difference here is a question, not
# an answer.

# %% [markdown]
# ## After accounting for lesion size
#
# The effect of an outside hospital on Dice (ordinary least squares), alone, with the mean size of the patient's lesions
# in the model, and with its logarithm, to which Dice is more nearly proportional; all three on the same patients.

# %%
outside_adjusted(cases).round(3)

# %% [markdown]
# If the effect shrinks towards zero from the first row to the others, the larger lesions explained it. If its interval
# only widens, the cohort is too small to say.

# %%
all_factors(cases).round(3)

# %% [markdown]
# All factors at once, with lesion size. A factor whose effect here has another sign than in the simple test was
# confounded with the others.

# %% [markdown]
# ## The paper's numbers and ours

# %%
numbers = technical.numbers(cases, models, factors, outside_adjusted(cases))
ledger.beside(run, numbers)

# %% [markdown]
# P values of two studies are not expected to agree even when the same thing is true in both; look at the size of the
# differences and at what was detectable. The hospital of a simulated patient changes nothing in the image: its true
# effect is zero, and the larger lesions that go with it are put in on purpose.

# %%
run.finish(numbers=numbers)
