"""The shipped network's card, for people: from its settings.json and the committed scores, never by hand."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from flairnb.provenance import atomic_path, read_json

if TYPE_CHECKING:
    import pandas as pd

CARD = "MODEL_CARD.md"
#: A disease whose median Dice lies below this is named.
POOR = 0.3


def write_model_card(table: pd.DataFrame) -> Path:
    """Write the card beside the shipped weights.

    Parameters
    ----------
    table : DataFrame
        The committed table of real cases (``reports/robust/real_cases.tsv``).
    """
    from flairnb.network.weights import SETTINGS_FILE, SHIPPED, shipped_names

    folder = SHIPPED / shipped_names()[-1]
    target = folder / CARD
    with atomic_path(target) as temporary:
        temporary.write_text(model_card(read_json(folder / SETTINGS_FILE), table), encoding="utf-8")
    return target


def model_card(about: dict[str, Any], table: pd.DataFrame, phantoms: pd.DataFrame | None = None) -> str:
    """Return the card as Markdown.

    Parameters
    ----------
    about : dict
        The weights' ``settings.json``.
    table : DataFrame
        participant_id, family, method, dice, lesion_f1, reference_ml,
        predicted_ml, expected_dice; rows of the method ``shipped`` count.
    phantoms : DataFrame, optional
        Of :func:`flairnb.report.phantom_scores.score_phantoms`; the committed
        ones if absent. Rows of other weights do not count.
    """
    card, net, calibration = about["card"], about["network"], about["calibration"]
    looks = f"looks at {about['spacing_mm']:g} and {about['spacing_mm'] * about['coarser_look']:g} mm"
    lines = [
        f"# Model card: {about['name']}",
        "",
        "**Research and teaching only, not for clinical use.** Written by notebook 13.",
        "",
        f"- What: the paper's 3D U-Net (width {net['width']}, {net['norm_in_blocks']} norm, dilation {net['dilation']}), lesion "
        f"probability on FLAIR at {about['spacing_mm']:g} mm, the mean of {looks}; averaged over "
        f"{about['smoothing_mm']:g} mm where slices are 2 mm or thinner, outlines sharpened by the image (strength "
        f"{about['sharpening']:g}), lesion from {about['threshold']:g} on, none below {about['min_lesion_ml']:g} ml, none "
        f"that stays within {about['rim_mm']:g} mm of the brain mask's border.",
        f"- Weights: sha256 {about['sha256'][:12]}..., stored as {about['storage']}; {card['weights_are']}.",
        f"- Trained on: {card['data']}",
        f"- How long: {card['updates']} updates in {card['minutes']:.0f} minutes on two cores that other work shared. "
        "`reports/robust/training.md` has the course and what was tried.",
        f"- Licences: {card['licences']}.",
        f"- Intended use: {card['intended_use']}",
        f"- Limits: {card['limits']}",
        f"- Calibration: temperature {calibration['temperature']:g}, expected Dice times {calibration['slope']:.3f}; "
        f"{calibration['fitted_on']}.{_looks(calibration)}",
        "",
        "## Development cases",
        "",
        f"{card['development_cases']}.",
        "",
        "| case | family | reader, ml | network, ml | Dice | lesion F1 | expected Dice |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in table[table["method"] == "shipped"].to_dict("records"):
        scored = row["reference_ml"] > 0
        reader, dice, f1 = (f"{row['reference_ml']:.1f}", f"{row['dice']:.2f}", f"{row['lesion_f1']:.2f}") if scored else ("none", "-", "-")
        cells = [row["participant_id"], row["family"], reader, f"{row['predicted_ml']:.1f}", dice, f1, f"{row['expected_dice']:.2f}"]
        lines.append(f"| {' | '.join(cells)} |")
    lines += _simulated(about, phantoms)
    for note in card.get("notes", []):
        lines += ["", note]
    return "\n".join(lines) + "\n"


def _simulated(about: dict[str, Any], phantoms: pd.DataFrame | None) -> list[str]:
    """Return the lines on simulated patients; none where these weights were not scored on any."""
    from flairnb.report import phantom_scores

    phantoms = phantom_scores.published() if phantoms is None else phantoms
    failed = phantoms[phantoms["status"] == "failed"]
    rows = phantom_scores.by_disease(phantoms[phantoms["weights_sha256"] == about["sha256"]])
    if rows.empty:
        return []
    lines = [
        "",
        "## Simulated patients, by disease",
        "",
        "No patients: heads simulated at 1 mm by the phantom cohort's generator, with a seed that nothing else uses, saved as FLAIR and "
        "T1w with skull, segmented as by `flairnb segment` and scored on the FLAIR's own grid against the simulated reader. The training "
        "heads come from another generator that shares code with this one, so the scores flatter; so few of a disease say little about it. "
        f"Volumes are medians. `{phantom_scores.FOLDER}/{phantom_scores.TABLE}`, by `python -m flairnb.report.phantom_scores`.",
        "",
        "| disease, simulated | n | median Dice | reader, ml | missed, ml | false, ml |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows.to_dict("records"):
        volumes = " | ".join(f"{row[name]:.1f}" for name in ("reference_ml", "missed_ml", "false_ml"))
        dice = "-" if row["dice"] != row["dice"] else f"{row['dice']:.2f}"
        lines.append(f"| {row['name']} | {row['n']} | {dice} | {volumes} |")
    poor = ", ".join(rows.loc[rows["dice"] < POOR, "name"])
    lines += ["", f"Below a median Dice of {POOR:g}, simulated: {poor or 'none'}."]
    if len(failed):
        lines += ["", f"Not scored, as something failed: {', '.join(failed['participant_id'])}."]
    return lines


def _looks(calibration: dict[str, Any]) -> str:
    """Say what is expected where the looks agree less than in any case that it was fitted on."""
    usual = calibration.get("usual_agreement", 0.0)
    return f" Less in proportion where its two looks agree less than {usual:.2f} (soft Dice), as in none of these." if usual > 0 else ""
