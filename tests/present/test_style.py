from __future__ import annotations

import pytest

from flairnb.present.style import (
    LOOKS,
    drawing,
    legend_columns,
    look,
    name_second_reader,
    new_figure,
    save_figure,
    second_reader,
    to_png,
    to_svg,
)


def example():
    with drawing():
        figure = new_figure(2.0, 1.5)
        axes = figure.add_subplot()
        axes.bar([0, 1], [2, 3], hatch="//", edgecolor="black")
        axes.set_title("phantom")
    return figure


def test_the_same_figure_gives_the_same_bytes():
    assert to_png(example()) == to_png(example())
    assert to_svg(example()) == to_svg(example())


def test_files_carry_no_date_and_no_program_version(tmp_path):
    paths = save_figure(example(), tmp_path / "figure.png")
    assert [path.name for path in paths] == ["figure.png", "figure.svg"]
    png, svg = (path.read_bytes() for path in paths)
    assert b"Software" not in png
    assert b"dc:date" not in svg
    assert b"Matplotlib v" not in svg
    assert sorted(p.name for p in tmp_path.iterdir()) == ["figure.png", "figure.svg"]


def test_a_dot_in_the_name_is_kept(tmp_path):
    assert save_figure(example(), tmp_path / "fig1.A", formats=("png",))[0].name == "fig1.A.png"


def test_a_notebook_shows_the_figure_as_png():
    assert example()._repr_png_().startswith(b"\x89PNG")


def test_drawing_leaves_matplotlibs_settings_as_they_were():
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    example()
    assert dict(mpl.rcParams) == before


def test_looks_differ_without_colour():
    drawn = [name for name in LOOKS if name not in ("brain", "lesion")]
    assert len({(LOOKS[n].marker, LOOKS[n].hatch, LOOKS[n].fill) for n in drawn}) == len(drawn)
    assert len({(LOOKS[n].marker, LOOKS[n].hatch) for n in ("manual2", "unet", "lga", "lpa", "bianca", "threshold")}) == 6
    masks_together = ("manual", "manual2", "unet", "threshold")
    assert len({str(LOOKS[n].dash) for n in masks_together}) == 4


def luminance(colour):
    from matplotlib.colors import to_rgb

    r, g, b = to_rgb(colour)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


@pytest.mark.parametrize("name", LOOKS)
def test_outlines_are_bright_enough_for_a_grey_image(name):
    assert luminance(look(name).outline) > 0.35


def test_an_unknown_method_gets_a_spare_look_with_its_own_name():
    assert look("tool x", 0).label == "tool x"
    assert look("tool x", 0) != look("tool x", 1)


def test_the_second_reader_is_a_person_until_a_run_says_otherwise():
    assert look("manual2").label == "Reader 2"
    name_second_reader(simulated=True)
    assert look("manual2").label == "Reader 2 (simulated)" and look("manual2").marker == LOOKS["manual2"].marker
    assert look("manual").label == "Reader 1 (reference)" and look("unet").label == "U-Net"
    name_second_reader(simulated=False)
    assert look("manual2").label == "Reader 2"


def test_one_case_can_differ_from_the_run_for_one_picture():
    name_second_reader(simulated=True)
    with pytest.raises(ZeroDivisionError), second_reader(simulated=False):
        assert look("manual2").label == "Reader 2"
        1 / 0  # noqa: B018
    assert look("manual2").label == "Reader 2 (simulated)"


@pytest.mark.parametrize("width_in", [2.0, 4.5, 5.2, 8.6])
def test_a_legend_fits_into_its_figure_or_has_one_column(width_in):
    labels = ["Reader 2 (simulated)", "U-Net", "LGA (re-implementation)", "BIANCA-style kNN"]
    columns = legend_columns(labels, width_in)
    with drawing():
        figure = new_figure(width_in, 2.0)
        axes = figure.add_subplot()
        for label in labels:
            axes.errorbar([0], [0], yerr=[1], marker="o", label=label)
        legend = figure.legend(loc="outside lower center", ncols=columns)
    figure.draw_without_rendering()
    assert columns == 1 or legend.get_window_extent().width <= figure.bbox.width
