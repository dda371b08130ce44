"""Eigen-CAM, Eigen-Grad-CAM and KPCA-CAM against full decompositions in float64."""

import numpy as np
import pytest
import torch

import saliscope as sc
from saliscope.methods import KPCACAM, EigenCAM, EigenGradCAM, Evidence
from saliscope.methods.leading import leading_cells, leading_coordinates


def signed(along, o):
    """The sign that agrees with the channel sum."""
    agreement = float((along * o.sum(1)).sum())
    return along if agreement > 0 else -along


def eigen_twin(o, *, centred=False):
    """O (C, h, w) as (hw, C), a full singular value decomposition, and the projection on v_1."""
    rows = np.stack([o[:, i, j] for i, j in np.ndindex(*o.shape[1:])])
    if centred:
        rows = rows - rows.mean(0)
    _, _, vt = np.linalg.svd(rows, full_matrices=True)
    return signed(rows @ vt[0], rows).reshape(o.shape[1:])


def kernel_twin(o, kernel, gamma=None):
    """Kernel values cell by cell, centred by the matrix formula, first eigenvector times the root of its eigenvalue."""
    rows = np.stack([o[:, i, j] for i, j in np.ndindex(*o.shape[1:])])
    rows = rows - rows.mean(0)
    gamma = gamma or 1 / rows.shape[1]
    n = len(rows)
    k = np.zeros((n, n))
    for i, j in np.ndindex(n, n):
        if kernel == "rbf":
            k[i, j] = np.exp(-gamma * ((rows[i] - rows[j]) ** 2).sum())
        elif kernel == "sigmoid":
            k[i, j] = np.tanh(gamma * rows[i] @ rows[j] + 1)
        else:
            k[i, j] = rows[i] @ rows[j]
    centre = np.eye(n) - np.ones((n, n)) / n
    values, vectors = np.linalg.eigh(centre @ k @ centre)
    return signed(vectors[:, -1] * values[-1] ** 0.5, rows).reshape(o.shape[1:])


@pytest.mark.parametrize("centred", [False, True])
def test_eigen_cam_of_random_evidence(pair, close, centred):
    a, g = pair
    evidence = Evidence(torch.empty(0), a.float(), g.float())
    plain = EigenCAM(centred=centred).signed_map(evidence)
    graded = EigenGradCAM(centred=centred).signed_map(evidence)
    for i in range(len(a)):
        close(plain[i], eigen_twin(a[i].numpy(), centred=centred), atol=1e-4)
        close(graded[i], eigen_twin((a[i] * g[i]).numpy(), centred=centred), atol=1e-4)


@pytest.mark.parametrize("kernel", ["rbf", "sigmoid", "linear"])
@pytest.mark.parametrize("gamma", [0.0, 0.07])
def test_kpca_cam_of_random_evidence(pair, close, kernel, gamma):
    a, _ = pair
    found = KPCACAM(kernel=kernel, gamma=gamma).signed_map(Evidence(torch.empty(0), a.float()))
    for i in range(len(a)):
        close(found[i], kernel_twin(a[i].numpy(), kernel, gamma), atol=1e-4)


def test_the_linear_kernel_is_centred_eigen_cam(nets, batch, close):
    net = nets.deep_head()
    kernel = sc.attribute(net, batch, method="kpca-cam@features.1:kernel=linear")
    eigen = sc.attribute(net, batch, method="eigen-cam@features.1:centred=true")
    for i in range(3):
        close(kernel[i], eigen[i])


METHODS = {
    "eigen-cam": lambda a, g: eigen_twin(a),
    "eigen-grad-cam": lambda a, g: eigen_twin(a * g),
    "kpca-cam": lambda a, g: kernel_twin(a, "rbf"),
}


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("layer", ["features.1", "features.2"])
def test_a_network(nets, batch, by_hand, close, name, layer):
    """12 x 8 cells with 6 and 8 channels: more cells than a full decomposition is used for."""
    net = nets.deep_head()
    hand = by_hand(net, batch, layer, lambda z: z[:, 4])
    found = sc.attribute(net, batch, 4, method=f"{name}@{layer}")
    for i in range(3):
        close(found[i], METHODS[name](hand.a[i], hand.g[i]))


def test_the_sign_is_that_of_the_channel_sum(nets, batch):
    """Whatever sign LAPACK gives: the map of a network is bright where it is active, and never its own negative."""
    r = torch.Generator().manual_seed(0)
    for shape in ((1, 30, 4, 4), (1, 3, 9, 9), (1, 80, 9, 9)):
        a = torch.rand(shape, generator=r)
        found = EigenCAM().signed_map(Evidence(torch.empty(0), a))
        assert float(found.min()) > 0, "all positive activations: Perron and Frobenius"
        negative = EigenCAM().signed_map(Evidence(torch.empty(0), -a))
        torch.testing.assert_close(negative, -found)
    against = EigenGradCAM().signed_map(Evidence(torch.empty(0), a, -torch.ones_like(a)))
    assert float(against.max()) < 0, "evidence against the class stays negative"


def test_channels_that_cancel_leave_the_farthest_cell_positive():
    a = torch.zeros(1, 2, 2, 2)
    a[0, 0] = torch.tensor([[3.0, -1.0], [-2.0, 0.0]])
    a[0, 1] = -a[0, 0]
    found = EigenCAM().signed_map(Evidence(torch.empty(0), a))
    torch.testing.assert_close(found[0], a[0, 0] * 2**0.5)


@pytest.mark.parametrize("factor", [1e-30, 1e-22, 1e-12, 1.0, 1e12, 1e25])
def test_tiny_and_huge_values(factor):
    """Squares of 1e-22 vanish in float32, and those of 1e25 overflow."""
    a = torch.randn(2, 70, 9, 9, generator=torch.Generator().manual_seed(1)).relu()
    plain = EigenCAM().signed_map(Evidence(torch.empty(0), a))
    found = EigenCAM().signed_map(Evidence(torch.empty(0), a * factor))
    torch.testing.assert_close(found / factor, plain, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "method", [EigenCAM(), EigenGradCAM(), KPCACAM(), KPCACAM(kernel="sigmoid")]
)
@pytest.mark.parametrize("shape", [(3, 5, 4, 4), (3, 80, 10, 10), (3, 5, 10, 10)])
def test_zero_and_broken_images_beside_others(method, shape):
    a = torch.rand(shape, generator=torch.Generator().manual_seed(1))
    whole = method.signed_map(Evidence(torch.empty(0), a, a))
    a[0], a[2, 0, 0, 0] = 0, float("nan")
    found = method.signed_map(Evidence(torch.empty(0), a, a))
    assert torch.equal(found[0], torch.zeros_like(found[0]))
    torch.testing.assert_close(found[1], whole[1], rtol=1e-4, atol=1e-5)
    assert found[2].isnan().all()


@pytest.mark.parametrize("gamma", [-1.0, float("inf"), float("nan")])
def test_kernels_refuse_other_gammas(gamma):
    with pytest.raises(sc.MethodError, match="kpca-cam:gamma is positive, or 0 for 1 / C"):
        KPCACAM(gamma=gamma)


@pytest.mark.parametrize("size", [1, 2, 64, 65, 200, 300])
@pytest.mark.parametrize("gap", [0.0, 0.5, 0.97])
def test_the_leading_vector(size, gap):
    """Against a full decomposition, from one cell on, and with a second eigenvalue close to the first, which is 4."""
    r = torch.Generator().manual_seed(size)
    basis = torch.linalg.qr(torch.randn(2, size, size, generator=r, dtype=torch.float64)).Q
    values = torch.rand(2, size, generator=r, dtype=torch.float64) * gap
    values[:, 0], values[:, 1:2] = 1.0, gap
    matrix = (basis * 4 * values[:, None]) @ basis.mT
    found = leading_coordinates(matrix.float()).double()
    length = torch.linalg.vector_norm(found, dim=1)
    torch.testing.assert_close(length, torch.full_like(length, 2.0), rtol=1e-5, atol=0)
    agreement = (found * basis[:, :, 0]).sum(1).abs() / length
    torch.testing.assert_close(agreement, torch.ones(2, dtype=torch.float64), rtol=0, atol=1e-6)


@pytest.mark.parametrize("shape", [(100, 300), (300, 100), (400, 300), (300, 400)])
def test_the_leading_direction_needs_no_gram_matrix(shape):
    cells = torch.rand(2, *shape, generator=torch.Generator().manual_seed(0)) - 0.3
    found = leading_cells(cells).double()
    for i in range(2):
        u, s, _ = np.linalg.svd(cells[i].double().numpy(), full_matrices=False)
        expected = torch.from_numpy(u[:, 0] * s[0])
        expected = expected * (expected @ found[i]).sign()
        torch.testing.assert_close(found[i], expected, rtol=0, atol=1e-5 * float(s[0]))


def test_a_start_orthogonal_to_the_answer_does_no_harm():
    """Two blocks that do not touch, the second with the larger eigenvalue, the first with the larger entries."""
    matrix = torch.zeros(1, 100, 100)
    matrix[0, 0, 0], matrix[0, 50:, 50:] = 10.0, 0.5
    found = leading_coordinates(matrix) / 5  # the eigenvalue is 50 x 0.5
    assert float(found[0, 50:].abs().min()) > 0.14
    assert float(found[0, :50].abs().max()) < 1e-5
