"""Between this package's images and ANTs: coordinates, transforms, determinism.

ANTs (ITK) counts world coordinates towards left and posterior (LPS), NIfTI
towards right and anterior (RAS). Everything outside this module is RAS.
"""

from __future__ import annotations

import importlib
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from flairnb.errors import EnvironmentProblem, InputError
from flairnb.geometry import spacing_mm
from flairnb.provenance import atomic_path

if TYPE_CHECKING:
    import ants

# ITK reads its thread count once, so it is set before anything imports ANTs. With more than one thread mutual
# information is summed in changing order: results differ in the last digits first, then in the mask.
os.environ["ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"] = "1"

# What ANTs imports for its plots, statistics and regressions, none of which is called here, with the names that it takes
# from each: three quarters of the time of its import.
_NOT_NEEDED: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("statsmodels", "statsmodels.api", "statsmodels.formula", "statsmodels.formula.api"), ()),
    **dict.fromkeys(("matplotlib", "matplotlib.animation", "matplotlib.gridspec", "matplotlib.lines", "matplotlib.mlab"), ()),
    **dict.fromkeys(("matplotlib.patches", "matplotlib.patheffects", "matplotlib.pyplot"), ()),
    **dict.fromkeys(("mpl_toolkits", "mpl_toolkits.axes_grid1"), ()),
    "mpl_toolkits.axes_grid1.inset_locator": ("inset_axes",),
    "sklearn": (),
    "sklearn.preprocessing": ("PolynomialFeatures",),
    "sklearn.linear_model": ("LinearRegression",),
    "scipy.stats": ("pearsonr", "rankdata"),
    "pandas": ("DataFrame",),
    "requests": (),
}

_RAS_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def load_ants(seed: int = 0) -> ModuleType:
    """Import ANTs with a fixed seed and one thread, so that results repeat.

    Parameters
    ----------
    seed : int
        Seed of ITK's samplers; the same seed and machine give the same bits.

    Raises
    ------
    EnvironmentProblem
        antspyx is not installed.
    """
    try:
        with _postponed(_NOT_NEEDED):
            import ants
    except ImportError as error:
        raise EnvironmentProblem(f"expected the package antspyx, cannot import it ({error}). Run `make setup`.") from error
    # ITK takes 0 as "use the clock".
    ants.config._random_seed = int(seed) % (2**31 - 1) + 1
    return ants


class _Postponed(ModuleType):
    """Stands for a module that is loaded at its first use; `late` are the names that may be imported from it before."""

    def __init__(self, name: str, late: tuple[str, ...]) -> None:
        super().__init__(name)
        self.__dict__.update({attribute: _late(name, attribute) for attribute in late})

    def __getattr__(self, attribute: str) -> Any:
        if attribute.startswith("__"):
            raise AttributeError(attribute)
        below = sys.modules.get(f"{self.__name__}.{attribute}")
        if below is not None:
            return below
        library = self.__name__.partition(".")[0]
        for name in [n for n, m in sys.modules.items() if isinstance(m, _Postponed) and n.partition(".")[0] == library]:
            del sys.modules[name]
        return getattr(importlib.import_module(self.__name__), attribute)


def _late(module: str, name: str) -> Callable[..., Any]:
    """Return what stands for a function or class of a module that is loaded at the first call."""

    def call(*args: Any, **words: Any) -> Any:
        return getattr(importlib.import_module(module), name)(*args, **words)

    return call


@contextmanager
def _postponed(modules: Mapping[str, tuple[str, ...]]) -> Iterator[None]:
    """Let imports inside a block get modules that load at their first use; what is loaded already stays as it is."""
    waiting = {name: _Postponed(name, late) for name, late in modules.items() if name not in sys.modules}
    sys.modules.update(waiting)
    try:
        yield
    finally:
        for name, module in waiting.items():
            if sys.modules.get(name) is module:
                del sys.modules[name]
            # Who holds the module, and not the name, gets the real thing from now on.
            for attribute in modules[name]:
                module.__dict__.pop(attribute, None)


def register(*images: ants.ANTsImage, **how: Any) -> dict[str, Any]:
    """Run `ants.registration`.

    Raises
    ------
    InputError
        ANTs gave up: an image too thin for a pyramid of scales, or empty.
    """
    import ants

    try:
        return ants.registration(*images, **how)
    except RuntimeError as error:
        raise InputError(
            f"registration: expected images of a whole head, cannot fit them ({error}). Check the field of view, "
            "or give the brain's mask (--brain-mask)."
        ) from error


@contextmanager
def scratch_folder() -> Iterator[str]:
    """Give a folder for the files that ANTs passes around; removed at the end."""
    with tempfile.TemporaryDirectory(prefix="flairnb-") as folder:
        yield folder + os.sep


def to_ants(data: ArrayLike, affine: ArrayLike) -> ants.ANTsImage:
    """Return an ANTs image of an array with a RAS voxel-to-world matrix.

    Shear is dropped (ITK has none): directions are made orthonormal.
    """
    import ants

    lps = _RAS_LPS @ np.asarray(affine, dtype=float)
    edges = spacing_mm(lps)
    left, _, right = np.linalg.svd(lps[:3, :3] / edges)
    return ants.from_numpy(
        np.ascontiguousarray(data, dtype=np.float32),
        origin=[float(v) for v in lps[:3, 3]],
        spacing=[float(v) for v in edges],
        direction=left @ right,
    )


def from_ants(image: ants.ANTsImage) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Return array and RAS voxel-to-world matrix of an ANTs image."""
    affine = np.eye(4)
    affine[:3, :3] = np.asarray(image.direction) * np.asarray(image.spacing)
    affine[:3, 3] = image.origin
    return image.numpy().astype(np.float32), _RAS_LPS @ affine


def write_xfm(path: str | os.PathLike, matrix: ArrayLike) -> Path:
    """Write a (4, 4) RAS matrix as an ITK text transform, atomically.

    The matrix maps points of the fixed image to the moving image, which is
    what ITK (and BIDS' ``from-moving_to-fixed``) expects for resampling.
    """
    lps = _RAS_LPS @ np.asarray(matrix, dtype=float) @ _RAS_LPS
    numbers = " ".join(repr(float(v)) for v in [*lps[:3, :3].ravel(), *lps[:3, 3]])
    text = (
        "#Insight Transform File V1.0\n#Transform 0\nTransform: AffineTransform_double_3_3\n"
        f"Parameters: {numbers}\nFixedParameters: 0 0 0\n"
    )
    path = Path(path)
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="ascii")
    return path


def read_xfm(path: str | os.PathLike) -> NDArray[np.float64]:
    """Read an ITK text transform as a (4, 4) RAS matrix, fixed to moving points.

    Raises
    ------
    InputError
        Not a linear 3D ITK text transform.
    """
    found: dict[str, NDArray[np.float64]] = {}
    for line in Path(path).read_text(encoding="ascii", errors="replace").splitlines():
        key, _, rest = line.partition(":")
        if key in ("Parameters", "FixedParameters"):
            found[key] = np.array([float(v) for v in rest.split()])
    if found.get("Parameters", np.empty(0)).size != 12:
        raise InputError(f"transform: expected an ITK text file with 12 parameters, found another content in {Path(path).name}.")
    return _from_itk(found["Parameters"], found.get("FixedParameters", np.zeros(3)))


def read_ants_affine(path: str | os.PathLike) -> NDArray[np.float64]:
    """Read the binary affine that ANTs writes as a (4, 4) RAS matrix."""
    import ants

    transform = ants.read_transform(str(path))
    return _from_itk(np.asarray(transform.parameters), np.asarray(transform.fixed_parameters))


def _from_itk(parameters: NDArray, centre: NDArray) -> NDArray[np.float64]:
    linear, shift = parameters[:9].reshape(3, 3), parameters[9:12]
    lps = np.eye(4)
    lps[:3, :3] = linear
    lps[:3, 3] = shift + centre - linear @ centre
    return _RAS_LPS @ lps @ _RAS_LPS
