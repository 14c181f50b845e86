from __future__ import annotations

import pytest

from flairnb.present.style import LOOKS, drawing, look, new_figure, save_figure, to_png, to_svg


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
