"""What a lesson does once, before anything else."""

from __future__ import annotations

import os

import keras
import matplotlib.pyplot as plt
import tensorflow as tf

from davide_course.plots import STYLE


def prepare(seed: int) -> None:
    """Make a lesson reproducible, its plots alike and its output quiet; print what it runs on.

    Parameters
    ----------
    seed
        Seed of Python's, numpy's and TensorFlow's random numbers.
    """
    keras.utils.set_random_seed(seed)
    # A lesson compiles several networks one after the other; TensorFlow takes that for one that is compiled too often.
    tf.get_logger().setLevel("ERROR")
    plt.rcParams.update(STYLE)
    gpus = len(tf.config.list_physical_devices("GPU"))
    threads = os.environ.get("OMP_NUM_THREADS") or str(os.cpu_count())
    machine = f"{gpus} GPU{'s' * (gpus > 1)}" if gpus else f"no GPU, {threads} CPU threads"
    print(f"TensorFlow {tf.__version__}, Keras {keras.__version__}, {machine}; seed {seed}")
