"""Chapter 05: how close every method comes to the reader, with the tests of the article and those beside them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flairnb.evaluate.ledger import Measured
from flairnb.report import results

if TYPE_CHECKING:
    import pandas as pd

    from flairnb.report.start import Run

ALPHA = 0.05
#: Scores of Table 2: name in the numbers and column.
SCORES = ("dice", "sensitivity", "specificity", "ppv", "npv")
#: Scores with an interval on the page.
SHOWN = (*SCORES, "lesion_f1", "hd95_mm")


def intervals(run: Run, scores: pd.DataFrame) -> pd.DataFrame:
    """Return each method's medians with 95% bootstrap intervals over cases, as text, one row a score."""
    from flairnb.evaluate.summary import summarise_scores

    summary = summarise_scores(scores, values=SHOWN, seed=run.seed, resamples=run.settings.evaluate.bootstrap)
    text = [_text(row) for row in summary.itertuples()]
    wide = summary.assign(text=text).pivot(index="score", columns="method", values="text")  # noqa: PD010
    order = summary["method"].drop_duplicates().tolist()
    wide = wide.reindex(index=list(SHOWN), columns=order)
    wide.columns = [results.label(method) for method in order]
    return wide.fillna("")


def _text(row: Any) -> str:
    if row.n == 0:
        return ""
    digits = 1 if row.score == "hd95_mm" else 4 if row.score in ("specificity", "npv") else 2
    interval = f" ({row.ci_low:.{digits}f} to {row.ci_high:.{digits}f})" if row.ci_low == row.ci_low else ""
    return f"{row.median:.{digits}f}{interval}"


def methods_anova(scores: pd.DataFrame) -> Any:
    """Compare the Dice of the network and of what stands for LST and BIANCA by one-way ANOVA, as the article does.

    The article's ANOVA takes the methods' scores as separate groups though they are of the same cases; so does this.
    Comparison methods that the article has not are no group.
    """
    from flairnb.evaluate.statistics import anova
    from flairnb.evaluate.summary import usable

    rows = usable(scores)
    methods = [method for method in results.paper_columns(scores) if method != "manual2"]
    return anova({method: group["dice"] for method, group in rows.groupby("method") if method in methods})


def together(scores: pd.DataFrame) -> pd.DataFrame:
    """Compare all methods in one mixed model, with ANOVA and what a paired test could have found.

    Returns
    -------
    DataFrame
        The rows of `flairnb.evaluate.models.mixed_model`, with `detectable_sd`: the difference, in SD of the paired
        differences, that a paired t test of the cases that both methods have finds with 80% power.
    """
    from flairnb.evaluate.models import mixed_model
    from flairnb.evaluate.power import detectable_dz
    from flairnb.evaluate.summary import usable

    table = mixed_model(scores)
    has = usable(scores).pivot(index="participant_id", columns="method", values="dice").notna()  # noqa: PD010
    both = [int((has["unet"] & has[method]).sum()) if "unet" in has else 0 for method in table["method"]]
    return table.assign(detectable_sd=[detectable_dz(n) for n in both])


def order(scores: pd.DataFrame) -> Any:
    """Say in which order the methods come by median, and where the paired tests of the means tell the network from another.

    The order is over the patients in whom every method has a Dice: medians over other patients each are no order. A test
    takes the patients that its two methods have.
    """
    from IPython.display import Markdown

    from flairnb.evaluate.statistics import paired_t
    from flairnb.evaluate.summary import usable

    wide = usable(scores).pivot(index="participant_id", columns="method", values="dice")  # noqa: PD010
    shared = wide.dropna()
    medians = shared.median().sort_values(ascending=False)
    names = [f"{results.label(method)} ({value:.2f})" for method, value in medians.items()]
    better: list[str] = []
    worse: list[str] = []
    for method in medians.index.drop("unet", errors="ignore") if "unet" in wide else ():
        test = paired_t(wide["unet"], wide[method])
        if test.p_value < ALPHA:
            (better if test.mean_difference > 0 else worse).append(results.label(method))
    found = f"in the order {', '.join(names)}" if len(shared) else "in no order"
    return Markdown(
        f"In this run the methods come, by **median** Dice over the {len(shared)} of {len(wide)} patients in whom every method has one, "
        f"{found}. By **mean** Dice (paired t test, P < .05) {results.label('unet')} is better than {', '.join(better) or 'none of them'}, "
        f"worse than {', '.join(worse) or 'none of them'}."
    )


def numbers(run: Run, scores: pd.DataFrame, tests: pd.DataFrame, table2: pd.DataFrame) -> dict[str, Any]:
    """Return the chapter's numbers: Table 2 of every method, the tests of Figure 1A."""
    from flairnb.evaluate.statistics import summarise
    from flairnb.evaluate.summary import methods_in, usable

    good = usable(scores)
    test = methods_anova(scores)
    result: dict[str, Any] = {"cases": int(good["participant_id"].nunique()), "not_scored": int(len(scores) - len(good)), "alpha": ALPHA}
    for method in methods_in(good):
        rows = good[good["method"] == method]
        for score in SCORES:
            found = summarise(rows[score])
            result[f"{score}_median_{method}"] = results.median_of(run, rows[score])
            result[f"{score}_sem_{method}"] = Measured(found.sem, n=found.n)
        result[f"dice_mean_{method}"] = results.median_of(run, rows["dice"], "mean")
    result["anova_f"] = Measured(test.statistic, n=test.n)
    result["anova_p"] = Measured(test.p_value, n=test.n)
    for row in tests.itertuples():
        result[f"p_{row.method}"] = results.p_of(row.p_value, row.n, row.mean_difference)
    by_measure = table2.set_index("measure")
    result["volume_rho_unet"] = float(by_measure.filter(regex="^U-Net, ours$").loc[results.KEY_ROWS[-1]].iloc[0])
    return result
