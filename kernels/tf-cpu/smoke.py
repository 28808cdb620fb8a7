"""Self-test of the kernel tf-cpu, run on a node by its launch script (`launch smoke.py`): status 1 if it is wrong."""

import os
import platform
import sys
import time

start = time.perf_counter()
import keras  # noqa: E402
import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402

imported = time.perf_counter() - start


def convolution_error() -> float:
    """Return how far TensorFlow's convolution is from one written out in numpy."""
    random = np.random.default_rng(0)
    image = random.normal(size=(8, 8)).astype("float32")
    kernel = random.normal(size=(3, 3)).astype("float32")
    windows = np.lib.stride_tricks.sliding_window_view(image, kernel.shape)
    expected = np.einsum("ijkl,kl->ij", windows, kernel)
    found = tf.nn.conv2d(image[None, :, :, None], kernel[:, :, None, None], strides=1, padding="VALID")
    return float(np.abs(found.numpy()[0, :, :, 0] - expected).max())


def product_error() -> float:
    """Return how far TensorFlow's matrix product is from numpy's in double precision."""
    left, right = np.random.default_rng(1).normal(size=(2, 300, 300))
    found = tf.matmul(left.astype("float32"), right.astype("float32")).numpy()
    return float(np.abs(found - left @ right).max())


def main() -> int:
    """Print what was found and return the exit status."""
    errors = {"convolution": (convolution_error(), 1e-4), "matrix product": (product_error(), 1e-3)}
    versions = f"Python {platform.python_version()}, TensorFlow {tf.__version__}, Keras {keras.__version__}"
    devices = ", ".join(device.name for device in tf.config.list_physical_devices())
    print(f"{platform.node()}: {versions}, devices {devices}")
    print(f"import {imported:.1f} s, {os.environ.get('OMP_NUM_THREADS', 'any number of')} threads")
    for name, (error, allowed) in errors.items():
        print(f"{name}: differs from numpy by {error:.1e} (allowed {allowed:.0e})")
    print(f"in all {time.perf_counter() - start:.1f} s")
    wrong = [name for name, (error, allowed) in errors.items() if not error <= allowed]
    if wrong:
        print(f"wrong: {', '.join(wrong)}; this build of TensorFlow does not fit this processor", file=sys.stderr)
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
