"""Save, find and load trained networks; every load checks the file's SHA-256."""

from __future__ import annotations

import dataclasses
import io
import logging
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flairnb.errors import InputError, MissingDataError
from flairnb.network.confidence import Calibration
from flairnb.provenance import atomic_path, read_json, sha256_file, versions, write_json
from flairnb.settings import NetworkSettings, as_dict

if TYPE_CHECKING:
    import keras

log = logging.getLogger(__name__)

SHIPPED = Path(__file__).parent / "shipped"
SETTINGS_FILE = "settings.json"


@dataclass(frozen=True)
class Network:
    """A trained network and what is needed to use it.

    `spacing_mm` is the isotropic voxel size it was trained at, `threshold` the
    probability from which a voxel is lesion, `card` its training provenance,
    `calibration` how its probabilities are made honest, `coarser_look` the
    ``infer.coarser_look`` it works best with, `sharpening` the strength with
    which the image moves its outlines (:func:`flairnb.network.sharpen.sharpen`),
    `smoothing_mm` over what it is averaged before that on thin slices
    (:func:`flairnb.network.sharpen.smooth_thin`),
    `min_lesion_ml` the smallest lesion that it is believed, `rim_mm` how deep
    below the brain's border a lesion has to reach (`flairnb.network.rim`).
    """

    model: keras.Model
    network: NetworkSettings
    spacing_mm: float
    threshold: float
    sha256: str
    name: str
    card: dict[str, Any] = field(default_factory=dict)
    calibration: Calibration = field(default_factory=Calibration)
    coarser_look: float = 0.0
    sharpening: float = 0.0
    smoothing_mm: float = 0.0
    min_lesion_ml: float = 0.0
    rim_mm: float = 0.0

    @property
    def trained_patch(self) -> int:
        """Edge of the patches it was trained on, voxels; 0 where its card does not say."""
        train = self.card.get("train", {})
        patch = train.get("patch", 0) if isinstance(train, dict) else 0
        return patch if isinstance(patch, int) else 0


def save_network(  # noqa: PLR0913 (all but two are keywords with defaults)
    model: keras.Model,
    folder: str | Path,
    *,
    network: NetworkSettings,
    spacing_mm: float,
    name: str = "unet",
    threshold: float = 0.5,
    card: Mapping[str, Any] | None = None,
    half: bool = False,
    calibration: Calibration | None = None,
    coarser_look: float = 0.0,
    sharpening: float = 0.0,
    smoothing_mm: float = 0.0,
    min_lesion_ml: float = 0.0,
    rim_mm: float = 0.0,
) -> Path:
    """Write ``<name>.keras`` and ``settings.json`` into a folder.

    Parameters
    ----------
    model : keras.Model
        Built by :func:`flairnb.network.unet.build_unet` from `network`.
    folder : path
        Made if absent; one network a folder.
    network : NetworkSettings
        The settings the model was built from.
    spacing_mm : float
        Isotropic voxel size of the training volumes, mm.
    name : str
        File name without extension.
    threshold : float
        Probability from which a voxel is lesion.
    card : mapping, optional
        Training provenance: data, recipe, epochs, seconds, limits.
    half : bool
        Store weights as float16: half the size; rounding moves a probability
        by about 1e-3. They are float32 again after loading.
    calibration : Calibration, optional
        None leaves probabilities as they are.
    coarser_look : float
        See ``infer.coarser_look``.
    sharpening : float
        See :func:`flairnb.network.sharpen.sharpen`.
    smoothing_mm : float
        See :func:`flairnb.network.sharpen.smooth_thin`.
    min_lesion_ml : float
        See ``infer.min_lesion_ml``.
    rim_mm : float
        See :func:`flairnb.network.rim.at_the_rim`.

    Returns
    -------
    Path
        The ``.keras`` file.
    """
    from flairnb.network.unet import build_unet

    clean = build_unet(network, name=name, dtype="float16" if half else "float32")
    clean.set_weights(model.get_weights())
    path = Path(folder) / f"{name}.keras"
    with atomic_path(path) as temporary:
        clean.save(temporary)
    content = {
        "name": name,
        "file": path.name,
        "sha256": sha256_file(path),
        "storage": "float16" if half else "float32",
        "spacing_mm": float(spacing_mm),
        "threshold": float(threshold),
        "network": as_dict(network),
        "card": dict(card or {}),
        "coarser_look": float(coarser_look),
        "sharpening": float(sharpening),
        "smoothing_mm": float(smoothing_mm),
        "min_lesion_ml": float(min_lesion_ml),
        "rim_mm": float(rim_mm),
        "calibration": dataclasses.asdict(calibration or Calibration()),
        "versions": versions(),
    }
    write_json(path.parent / SETTINGS_FILE, content)
    return path


def load_network(name_or_path: str | Path) -> Network:
    """Load a trained network, float32, ready to predict.

    Parameters
    ----------
    name_or_path : str or path
        A shipped name, a folder with ``settings.json``, or the ``.keras`` file
        in such a folder.

    Raises
    ------
    MissingDataError
        Nothing of that name or path, or no ``settings.json`` beside it.
    InputError
        ``settings.json`` cannot be read or is not whole; the file is not the
        one that it describes (SHA-256), or does not fit the network settings.
    """
    folder = _folder(name_or_path)
    about = _read_about(folder / SETTINGS_FILE)
    path = folder / about["file"]
    if not path.is_file():
        raise MissingDataError(f"weights {path.name}: {SETTINGS_FILE} names the file, but it is absent. Copy both.")
    asked = Path(name_or_path)
    if asked.suffix == ".keras" and asked.is_file() and asked.name != path.name:
        raise InputError(f"weights {asked.name}: the {SETTINGS_FILE} beside it describes {path.name}. Keep one network in a folder.")
    found = sha256_file(path)
    if found != about["sha256"]:
        raise InputError(
            f"weights {path.name}: expected sha256 {about['sha256'][:12]}..., found {found[:12]}...: "
            "the file was changed or cut off. Copy it again together with its settings.json."
        )
    network = _network_settings(about["network"], path.name)
    return Network(
        model=_float32_model(path, network, about["name"]),
        network=network,
        spacing_mm=float(about["spacing_mm"]),
        sha256=found,
        name=about["name"],
        card=about.get("card", {}),
        **_use(about),
    )


def stored_settings(name_or_path: str | Path) -> dict[str, Any]:
    """Return a network's ``settings.json`` without loading it; errors as in `load_network`."""
    return _read_about(_folder(name_or_path) / SETTINGS_FILE)


def stored_spacing(name_or_path: str | Path) -> float:
    """Return a network's voxel edge in mm without loading it; errors as in `load_network`."""
    return float(stored_settings(name_or_path)["spacing_mm"])


#: What a calibration says that was fitted on another network begins so.
INHERITED = "inherited from"


def inherited_use(name_or_path: str | Path) -> dict[str, Any]:
    """Return how a network is used, for one that goes on from it or stands in for it.

    Returns
    -------
    dict
        `threshold`, `coarser_look`, `sharpening`, `smoothing_mm`,
        `min_lesion_ml`, `rim_mm` and `calibration`: keywords of `save_network`. The calibration's
        `fitted_on` says that it is another network's, unless it is none.

    Raises
    ------
    MissingDataError, InputError
        As `load_network`.
    """
    about = stored_settings(name_or_path)
    use = _use(about)
    calibration = use["calibration"]
    if calibration != Calibration() and not calibration.fitted_on.startswith(INHERITED):
        words = f"{INHERITED} {about['name']} (fitted there on {calibration.fitted_on}), not fitted on these weights"
        use["calibration"] = dataclasses.replace(calibration, fitted_on=words)
    return use


def _use(about: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a settings.json says of how its network is used."""
    optional = ("coarser_look", "sharpening", "smoothing_mm", "min_lesion_ml", "rim_mm")
    return {
        "threshold": float(about["threshold"]),
        **{name: float(about.get(name, 0.0)) for name in optional},
        "calibration": _calibration(about.get("calibration", {}), about["file"]),
    }


#: What a settings.json must hold, and of which kind.
_PROMISED = {"name": str, "file": str, "sha256": str, "spacing_mm": (int, float), "threshold": (int, float), "network": dict}


def _read_about(path: Path) -> dict[str, Any]:
    """Read a network's settings.json and check that it is whole.

    Raises
    ------
    InputError
        No JSON, or something is missing or of another kind.
    """
    try:
        about = read_json(path)
    except ValueError as problem:  # also a file that is no text
        raise InputError(
            f"weights in {path.parent.name}: expected JSON in {path.name}, could not read it ({problem}). Copy it again with its weights."
        ) from None
    if not isinstance(about, dict):
        raise InputError(f"weights in {path.parent.name}: expected settings in {path.name}, found a {type(about).__name__}. Copy it again.")
    wrong = [name for name, kind in _PROMISED.items() if not isinstance(about.get(name), kind)]
    if wrong:
        raise InputError(
            f"weights in {path.parent.name}: expected {', '.join(_PROMISED)} in {path.name}, "
            f"found no usable {', '.join(wrong)}. Copy it again with its weights."
        )
    if Path(about["file"]).name != about["file"]:
        raise InputError(f"weights in {path.parent.name}: expected the name of a file beside {path.name}, found {about['file']!r}.")
    return about


def _calibration(values: Any, what: str) -> Calibration:
    try:
        return Calibration(**values)
    except TypeError:
        known = ", ".join(f.name for f in dataclasses.fields(Calibration))
        raise InputError(f"weights {what}: expected a calibration of {known}, found {values!r}. Copy {SETTINGS_FILE} again.") from None


def _float32_model(path: Path, network: NetworkSettings, name: str) -> keras.Model:
    """Rebuild the network from code and give it the file's weights; the file's own description of the network is not built."""
    from flairnb.network.unet import build_unet

    try:
        stored = _count_variables(path)
    except (ValueError, OSError, KeyError, TypeError, zipfile.BadZipFile) as problem:
        first = (str(problem).splitlines() or [type(problem).__name__])[0]
        raise InputError(f"weights {path.name}: expected a Keras network, could not read it ({first}). Copy it again.") from None
    model = build_unet(network, name=name)
    try:
        if stored != len(model.weights):
            raise ValueError(f"{len(model.weights)} arrays expected, {stored} found")
        # Keras only warns of layers that the file has nothing for; they would keep their random weights.
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            model.load_weights(path)
    except (ValueError, KeyError, UserWarning) as problem:
        why = " ".join(str(problem).split("\n\n")[:2])
        raise InputError(f"weights {path.name}: they do not fit the network that settings.json describes: {why}") from None
    return model


def _count_variables(path: Path) -> int:
    """Return how many arrays a ``.keras`` file holds; a network that fits some of them only must not load."""
    import h5py

    found = []
    with zipfile.ZipFile(path) as archive, archive.open("model.weights.h5") as stream, h5py.File(io.BytesIO(stream.read()), "r") as content:
        content.visititems(lambda _name, item: found.append(item) if isinstance(item, h5py.Dataset) else None)
        return len(found)


def _network_settings(values: Mapping[str, Any], what: str) -> NetworkSettings:
    known = {f.name for f in dataclasses.fields(NetworkSettings)}
    if set(values) != known:
        raise InputError(f"weights {what}: expected network settings {sorted(known)}, found {sorted(values)}.")
    return NetworkSettings(**values)


def _folder(name_or_path: str | Path) -> Path:
    path = Path(name_or_path)
    # Only beside a file that is there: a slip in its name must not load the network next to it.
    beside = path.is_file() and (path.suffix == ".keras" or path.name == SETTINGS_FILE)
    for folder in (path.parent if beside else path, SHIPPED / str(name_or_path)):
        if (folder / SETTINGS_FILE).is_file():
            return folder
    names = ", ".join(shipped_names()) or "none"
    raise MissingDataError(
        f"weights {path.name!r}: expected a shipped name ({names}), or a .keras file with its {SETTINGS_FILE} beside it; found neither."
    )


def shipped_names() -> list[str]:
    """Return the names of the networks that came with the package, oldest name first."""
    return sorted(p.parent.name for p in SHIPPED.glob(f"*/{SETTINGS_FILE}"))


def default_weights(work_root: str | Path | None = None) -> Path:
    """Return the folder of the network to use when none is named.

    The last shipped network; without one, the newest network that a run left
    in ``<work_root>/*/models/unet``, the `demo` profile's first.

    Raises
    ------
    MissingDataError
        There is neither.
    """
    if names := shipped_names():
        return SHIPPED / names[-1]
    root = Path(work_root) if work_root is not None else Path("work")
    made = sorted(root.glob(f"*/models/*/{SETTINGS_FILE}"), key=lambda p: (p.parts[-4] == "demo", p.stat().st_mtime))
    if made:
        log.warning("no trained network ships with this version: using the one from profile %s", made[-1].parts[-4])
        return made[-1].parent
    raise MissingDataError(
        "weights: no network ships with this version and no run has made one. "
        "Run `flairnb run 03 --profile demo` (or `make report`) first, or name a file with --weights."
    )
