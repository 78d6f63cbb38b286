import numpy as np
import pytest

from centernet.geometry import affine_matrix, gaussian_radius, transform_points


def test_radius_equals_golden(golden):
    data = golden("radius")
    found = [gaussian_radius(float(h), float(w)) for h, w in data["hw"]]
    np.testing.assert_allclose(found, data["r"], rtol=0, atol=1e-9)


def test_affine_equals_golden(golden):
    for row in golden("affine")["rows"]:
        cx, cy, scale, rotation, width, height = row[:6]
        size = (int(width), int(height))
        forward = affine_matrix(np.array([cx, cy]), scale, rotation, size)
        inverse = affine_matrix(np.array([cx, cy]), scale, rotation, size, inverse=True)
        np.testing.assert_allclose(forward.ravel(), row[6:12], rtol=0, atol=1e-4)
        np.testing.assert_allclose(inverse.ravel(), row[12:18], rtol=0, atol=1e-4)


def test_pair_of_scales_counts_the_first():
    center = np.array([100.0, 50.0])
    np.testing.assert_array_equal(affine_matrix(center, np.array([200.0, 77.0]), 0, (128, 96)),
                                  affine_matrix(center, 200.0, 0, (128, 96)))


@pytest.mark.parametrize("rotation", [0.0, 30.0])
def test_inverse_undoes_forward(rotation):
    points = np.array([[0, 0], [10.5, 20.25], [300, -4]], np.float32)
    center = np.array([160.0, 120.0])
    there = transform_points(points, affine_matrix(center, 320.0, rotation, (128, 128)))
    back = transform_points(there, affine_matrix(center, 320.0, rotation, (128, 128), inverse=True))
    assert there.dtype == np.float32
    np.testing.assert_allclose(back, points, atol=1e-3)


def test_center_goes_to_the_middle():
    moved = transform_points(np.array([[70.0, 30.0]]), affine_matrix(np.array([70.0, 30.0]), 64.0, 45, (128, 96)))
    np.testing.assert_allclose(moved, [[64, 48]], atol=1e-4)
