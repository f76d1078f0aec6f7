"""Makes the files that the tests of `ot_core::interop::npy` read. Run in this folder."""

import numpy as np
import scipy.sparse

matrix = np.array([[0.0, 1.0 / 3.0, -2.0], [1e-300, 4.5, 1e300]])
np.save("by_rows.npy", matrix)
np.save("by_columns.npy", np.asfortranarray(matrix))
np.save("single.npy", matrix[0].astype(np.float32))
np.save("whole.npy", np.array([1, -2, 2**32], dtype=np.int64))
np.save("words.npy", np.array(["one", "two"]))
np.savez("potentials.npz", f=np.array([0.5, -0.5]), g=np.array([1.0, 2.0, 1.0 / 3.0]), epsilon=0.05)
plan = scipy.sparse.coo_matrix(([0.1, 0.7, 0.2], ([0, 1, 2], [3, 0, 2])), shape=(3, 4))
scipy.sparse.save_npz("plan.npz", plan)
