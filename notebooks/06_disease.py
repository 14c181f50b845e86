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
# # Does the disease matter?
#
# **In which diseases does the network outline lesions better than the other methods, and in which as well as a second reader?**
#
# This chapter repeats the paper's Figure 1B and On-line Figure 2, and says how much a handful of patients of one disease
# can tell at all.
#
# - Reads: `tables/scores.tsv` of 05_accuracy, the masks, the images of the cases with uneven lesions.
# - Leaves: `tables/diseases.tsv`, `tables/heterogeneous.tsv`.
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
from flairnb.report import disease, ledger, results

run = flairnb.start("06", profile, seed, data_dir, out_dir, overrides)
run

# %% [markdown]
# ## Tests within each disease
#
# As in the paper: paired two-tailed t tests between the network and each other method, within each diagnosis, the P values
# corrected for the false discovery rate (Benjamini and Hochberg) over the diagnoses, separately for each method; the paper does
# not say over which family it corrected. Healthy brains are no diagnosis and are left out. Beside them stand Wilcoxon's test
# and the effect size (mean difference over the SD of the differences).

# %%
scores, lesions = results.load_scores(run)
tests = run.save(disease.disease_tests(scores), "tables/diseases.tsv")
tests.round(3)

# %% [markdown]
# A row with an empty P value has fewer than two patients, or the same difference in all of them. It means "not tested",
# never "no difference". Every method's medians count only patients in whom its Dice is defined.

# %% [markdown]
# ## Figure 1B: Dice by disease
#
# The columns are the paper's four: second reader, network, LST and BIANCA. The last two are re-implementations under
# their own names; where a run has neither, other methods stand in. One asterisk: the network is better than one method,
# two: better than both. A hash: the second reader differs from the network.

# %%
run.keep(disease.dice_by_disease(scores, tests), "dice_by_disease")

# %% [markdown]
# If the network did no more than find large bright areas, the diseases on the right would be those with small lesions
# whatever their cause; 07_lesion_volume shows whether that is all there is. The number in brackets is the number of
# patients: a bar of one patient has no whisker and proves nothing.

# %%
verdict = disease.verdict(scores, tests)
disease.verdict_table(verdict)

# %% [markdown]
# These are the paper's counts, made by its rules. "Not different" counts only diseases that could be tested against a second
# reader: the row above it says how many. It must not be read as "equal", and the next table says why.

# %% [markdown]
# ## What could the tests have found?
#
# For each number of patients in a disease: the smallest true difference that a paired t test finds in four of five
# studies (80% power), in SD of the differences; the same at a level divided by the number of diseases; and the first
# one in points of Dice, at the SD that is typical here.

# %%
disease.power_by_cases(scores, tests).round(2)

# %% [markdown]
# In most of medicine a difference of 0.8 SD is called large. With five patients only about twice that is found with any
# certainty, so that "not statistically different" from the radiologist in a disease of five patients would also be the
# expected verdict if the network were clearly worse.

# %% [markdown]
# ## The diseases that the other methods were made for
#
# LST was made for multiple sclerosis, BIANCA for small-vessel disease. All three forms of multiple sclerosis are taken
# together here; the paper does not say which it meant.

# %%
disease.designed_for(scores).round(3)

# %% [markdown]
# A method that was made for a disease should do better there than elsewhere. If its row here is no better than its
# average over all diseases (05_accuracy), its weakness is not the choice of diseases.

# %% [markdown]
# ## Lesions with uneven signal
#
# The paper picked cases whose lesions are bright in one part and dark in another (necrosis, blood, fluid) and found that
# they are outlined well. Nobody has picked ours: of the patients with a disease, those with the largest relative spread of FLAIR
# signal inside the lesions, borders left out, are taken, as many in a hundred as in the paper. Radiological convention: R is on the left.

# %%
spread = run.save(disease.lesion_spread(run, scores), "tables/heterogeneous.tsv")
run.keep(disease.heterogeneous_cases(run, spread), "heterogeneous")

# %% [markdown]
# Holes in the middle of the network's red area where the reader's has none would mean that uneven signal does break the
# outline. Uneven lesions are mostly large ones, and large lesions score higher in any case: a high Dice here is no
# evidence that unevenness is harmless.

# %% [markdown]
# ## The paper's numbers and ours

# %%
numbers = disease.numbers(run, scores, verdict, spread)
ledger.beside(run, numbers)

# %% [markdown]
# Why they may differ. In the simulated profiles: patients whose diseases look as alike as their recipes and, but for `phantom`,
# fewer of them in each disease and a network trained for minutes. On a cohort of your own: other patients, scanners and readers.
# Intervals are of the median, by resampling patients.

# %%
run.finish(numbers=numbers)
