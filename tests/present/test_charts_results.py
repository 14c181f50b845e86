from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from flairnb.evaluate import strata, technical
from flairnb.present import charts_audit, charts_strata, charts_technical
from flairnb.present.style import look, second_reader, to_png
from flairnb.report import disease, volume
from flairnb.report import technical as chapter


@pytest.fixture(scope="module")
def sized(fabricated):
    return strata.with_lesion_size(fabricated.scores, fabricated.lesions)


@pytest.fixture(scope="module")
def cases(sized):
    return technical.network_cases(sized)


@pytest.fixture(scope="module")
def few(sized):
    return sized.drop_duplicates(["diagnosis", "method"]).groupby("method").head(3)


def texts(figure):
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def test_bins_keep_their_order_their_cases_and_their_marks(sized):
    figure = volume.by_total_volume(sized, strata.bin_tests(sized, "volume_bin"))
    labels = [label.get_text() for label in figure.axes[0].get_xticklabels()]
    assert [label.split("\n")[0] for label in labels] == strata.bin_labels(strata.TOTAL_EDGES_ML)
    assert sum(int(label.split("(")[1].rstrip(")")) for label in labels) == 92
    assert any("**" in text for text in texts(figure))
    assert len(figure.axes) == 2 and to_png(figure)


def test_a_line_passes_through_its_medians():
    table = pd.DataFrame({"bin": ["a", "b"], "method": "unet", "median": [0.4, 0.7], "sem": [0.1, np.nan], "n": [5, 1]})
    figure = charts_strata.over_bins([charts_strata.Panel(table, "Dice", marks={"b": "*"})])
    line = figure.axes[0].containers[0].lines[0]
    np.testing.assert_array_equal(line.get_ydata(), [0.4, 0.7])
    assert "*" in texts(figure)


def test_all_diseases_are_named_and_no_two_names_lie_on_each_other(sized):
    figure = volume.diseases(sized)
    figure.canvas.draw()
    names = figure.axes[0].texts
    assert {text.get_text() for text in names} == set(disease.ABBREVIATIONS.values())
    boxes = [text.get_window_extent() for text in names]
    overlapping = sum(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[i + 1 :])
    assert overlapping <= 1


def test_a_disease_whose_dice_is_zero_is_named_inside_the_axes():
    rows = [("MIGRAINE", 0.1, 0.0), ("SUSAC", 0.17, 0.0), ("NMO", 1.2, 0.0), ("TLE", 120.0, 0.02), ("LGG", 43.0, 1.0)]
    table = pd.DataFrame(rows, columns=["diagnosis", "median_ml", "dice"]).assign(n=1)
    figure = charts_strata.disease_scatter(table, disease.ABBREVIATIONS, disease.GROUPS)
    figure.draw_without_rendering()
    axes = figure.axes[0].get_window_extent()
    for text in figure.axes[0].texts:
        box = text.get_window_extent()
        assert box.x0 >= axes.x0 and box.x1 <= axes.x1 and box.y0 >= axes.y0 and box.y1 <= axes.y1, text.get_text()


def test_the_legend_under_one_panel_is_whole(sized):
    with second_reader(simulated=True):
        figures = [volume.by_lesion_size(sized, strata.bin_tests(sized, "lesion_bin")), volume.scatter(sized, volume.volume_table(sized))]
    for figure in figures:
        figure.draw_without_rendering()
        legend = figure.legends[0].get_window_extent()
        assert legend.x0 >= 0 and legend.x1 <= figure.bbox.width
        assert any(text.get_text().startswith("Reader 2 (simulated)") for text in figure.legends[0].get_texts())


def test_limits_of_agreement_are_drawn_for_every_method(sized):
    figure = volume.agreement(sized)
    assert [axes.get_title() for axes in figure.axes][:2] == ["Reader 2", "U-Net"]
    lower, bias, upper = volume.ratio_limits(sized)["unet"]
    heights = {round(float(line.get_ydata()[0]), 9) for line in figure.axes[1].lines if len(line.get_ydata()) == 2}
    assert {round(lower, 9), round(bias, 9), round(upper, 9), 1.0} <= heights


def test_every_case_is_a_dot_over_its_scanner_model(fabricated, cases):
    training = fabricated.manifest.loc[fabricated.manifest["split"] == "train", "model"]
    models = technical.by_model(cases, training)
    figure = chapter.by_model(models, cases)
    dots = [line for line in figure.axes[0].lines if line.get_marker() == "o"]
    assert sum(len(line.get_xdata()) for line in dots) == 92
    assert {"GE", "Philips", "Siemens", "Toshiba"} <= set(texts(figure))
    assert any(text.startswith("r² = ") for text in texts(chapter.by_training(models)))


def test_two_groups_show_their_p_value_and_sizes(cases):
    figure = chapter.by_factor(cases, technical.factor_tests(cases))
    assert [axes.get_title() for axes in figure.axes] == ["field strength", "acquisition", "hospital"]
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["1.5 T\n(57)", "3 T\n(35)"]
    assert all("P" in axes.texts[0].get_text() for axes in figure.axes)


def test_three_patients_draw_without_a_warning(few, fabricated):
    tests = disease.disease_tests(few)
    cases = technical.network_cases(few)
    models = technical.by_model(cases, pd.Series(dtype=str))
    figures = [
        disease.dice_by_disease(few, tests),
        volume.scatter(few, volume.volume_table(few)),
        volume.agreement(few),
        volume.by_total_volume(few, strata.bin_tests(few, "volume_bin")),
        volume.by_lesion_size(few, strata.bin_tests(few, "lesion_bin")),
        volume.errors_by_lesion_size(few, fabricated.lesions[fabricated.lesions["participant_id"].isin(few["participant_id"])]),
        volume.diseases(few),
        chapter.by_model(models, cases),
        chapter.by_training(models),
        chapter.by_factor(cases, technical.factor_tests(cases)),
    ]
    assert all(len(to_png(figure, dpi=40)) > 1000 for figure in figures)


def test_times_stand_beside_the_articles():
    table = pd.DataFrame({"method": ["unet", "lga"], "mean_s": [3.0, 12.0], "sd_s": [0.2, np.nan], "n": [3, 1]})
    stages = pd.DataFrame({"method": ["unet", "unet", "lga"], "stage": ["brain", "network", "brain"], "mean_s": [2.0, 1.0, 12.0]})
    figure = charts_technical.seconds_by_method(table, stages, {"unet": ("CNN", 28.2, 1.48)})
    assert "article: CNN" in texts(figure)
    widths = [bar.get_width() for bar in figure.axes[1].patches]
    assert sorted(widths) == [1.0, 2.0, 12.0] and to_png(figure)


def test_names_of_two_lines_above_the_maps_are_whole():
    maps = {f"all layers, literally,\n{kind} voxel": np.ones((8, 8), bool) for kind in ("odd", "even", "no", "any")}
    for title in ("", "What a voxel sees"):
        figure = charts_audit.influence_maps(maps, dict.fromkeys(maps, (4, 4)), title)
        to_png(figure)
        assert all(axes.title.get_window_extent().y1 <= figure.bbox.height for axes in figure.axes)
        above = figure.get_suptitle() and figure._suptitle.get_window_extent().y0
        assert not above or all(axes.title.get_window_extent().y1 <= above for axes in figure.axes)


def test_audit_charts_draw():
    curves = pd.DataFrame({"n": [2, 5, 92] * 2, "level": ["a"] * 3 + ["b"] * 3, "detectable": [11.0, 1.7, 0.3, 90.0, 3.7, 0.4]})
    assert "five" in texts(charts_audit.detectable_effect(curves, [(5, "five")]))
    assert to_png(charts_audit.influence_maps({"a": np.eye(5, dtype=bool), "b": np.ones((5, 5), bool)}, {"a": (2, 2), "b": (2, 3)}))
    rows = [("step", choice, f"sub-{n}", 0.1 * n) for choice in ("32", "48") for n in range(3)]
    figure = charts_audit.choices(pd.DataFrame(rows, columns=["ablation", "choice", "participant_id", "dice"]))
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["32", "48"]


def test_a_cohort_without_scanner_models_draws_without_a_warning(fabricated):
    import warnings

    from flairnb.evaluate.technical import by_model
    from flairnb.present.charts_technical import dice_by_training

    cases = fabricated.scores[fabricated.scores["method"] == "unet"].assign(model=np.nan)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = dice_by_training(by_model(cases, fabricated.manifest["model"].head(0)), np.nan, np.nan)
        assert to_png(figure)
    assert "no scanner model is known" in texts(figure) and not figure.legends


def test_a_method_looks_the_same_in_every_panel_as_in_the_legend(fabricated):
    names = {"lga": "tool b", "lga03": "tool a"}
    rows = fabricated.scores[fabricated.scores["method"].isin(["manual2", "unet", *names])]
    lesions = fabricated.lesions.drop(columns=["found_by_bianca", "found_by_lpa", "found_by_threshold"])
    lesions = lesions.rename(columns={f"found_by_{old}": f"found_by_{new}" for old, new in names.items()})
    sized = strata.with_lesion_size(rows.assign(method=rows["method"].replace(names)), lesions)
    figure = volume.errors_by_lesion_size(sized, lesions)
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ["Reader 2", "U-Net", "tool a", "tool b"]
    for axes in figure.axes:
        looks = [(c.lines[0].get_marker(), c.lines[0].get_markerfacecolor()) for c in axes.containers]
        assert looks == [
            (how.marker, how.fill) for how in (look(name, place) for place, name in enumerate(["manual2", "unet", "tool a", "tool b"]))
        ]
    found = strata.detection_by_size(lesions)
    shares = found.loc[found["method"] == "tool b", "found"].tolist()
    assert figure.axes[2].containers[3].lines[0].get_ydata().tolist() == shares


def test_marks_are_of_the_methods_that_are_drawn(rng):
    rows = []
    for n in range(12):
        base = 0.7 + rng.normal(0, 0.05)
        for method, more in (("unet", 0), ("shipped", 0.1), ("lpa", 0.1), ("threshold", -0.3)):
            rows.append((f"s{n}", method, "ok", base + more + rng.normal(0, 0.01), 2.0, 2.0, 0.6, 0.1))
    columns = ["participant_id", "method", "status", "dice", "reference_ml", "predicted_ml", "sensitivity", "false_discovery_rate"]
    lesions = pd.DataFrame([(f"s{n}", "manual", 2.0) for n in range(12)], columns=["participant_id", "method", "volume_ml"])
    sized = strata.with_lesion_size(pd.DataFrame(rows, columns=columns), lesions)
    tests = strata.bin_tests(sized, "volume_bin")
    assert tests.set_index("method").loc["threshold", "significant"]
    figure = volume.by_total_volume(sized, tests)
    assert "Plain threshold" not in [text.get_text() for text in figure.legends[0].get_texts()] and "*" not in "".join(texts(figure))


def test_a_small_p_value_is_never_written_as_nought():
    models = pd.DataFrame({"manufacturer": "Siemens", "model": list("abcde"), "n": 1, "sem": np.nan})
    steep = models.assign(median=[0.1, 0.2, 0.3, 0.4, 0.5001], training=[1, 2, 3, 4, 5])
    assert any(text.endswith("P < .001, 5 models") for text in texts(chapter.by_training(steep)))
    assert "5 models: no line" in texts(chapter.by_training(steep.assign(training=3)))
