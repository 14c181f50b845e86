"""What becomes of a bias field on a finer grid."""

import numpy as np

from flairnb.geometry import Grid
from flairnb.prepare.n4 import spread_field


def test_a_spread_field_keeps_its_values_to_the_edge_of_the_outer_voxels_and_is_1_outside():
    coarse = Grid((4, 5, 4), np.diag([-4.0, 4.0, 4.0, 1.0]))
    fine = Grid((30, 30, 30), np.diag([-1.0, 1.0, 1.0, 1.0]))
    spread = spread_field(np.full(coarse.shape, 2.5, np.float32), coarse, fine)
    # Centres of the outer voxels at 12, 16 and 12 mm, their edges 2 mm further out.
    inside = np.zeros(fine.shape, bool)
    inside[:14, :18, :14] = True
    np.testing.assert_allclose(spread[inside], 2.5, rtol=1e-6)
    far = np.ones(fine.shape, bool)
    far[:15, :19, :15] = False
    np.testing.assert_array_equal(spread[far], 1.0)
