"""The course's plots, so that a lesson's cells are about its subject."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from numpy.typing import ArrayLike

# Okabe and Ito's colours, which people with any colour vision tell apart.
COLOURS = ["#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#000000", "#F0E442"]

STYLE: dict[str, Any] = {
    "figure.dpi": 96,
    "figure.constrained_layout.use": True,
    "font.size": 11,
    "axes.prop_cycle": plt.cycler(color=COLOURS),
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 12,
    "legend.frameon": False,
}


def gallery(rows: Mapping[str, ArrayLike], shape: tuple[int, int], signed: bool = False) -> None:
    """Show images row by row.

    Parameters
    ----------
    rows
        Title of each row and its images, one image a row of the array.
    shape
        Height and width of an image in pixels.
    signed
        False: pixels from 0 (white) to 1 (black). True: directions, in blue (-), white (0) and red (+).
    """
    arrays = {title: np.asarray(images) for title, images in rows.items()}
    columns = max(len(images) for images in arrays.values())
    height = 0.85 * len(arrays) + 0.1
    _, axes = plt.subplots(len(arrays), columns, figsize=(0.85 * columns + 1.6, height), squeeze=False)
    for (title, images), line in zip(arrays.items(), axes, strict=True):
        for axis in line:
            axis.set_axis_off()
        limit = np.abs(images).max()
        look = {"cmap": "RdBu_r", "vmin": -limit, "vmax": limit} if signed else {"cmap": "gray_r", "vmin": 0, "vmax": 1}
        for image, axis in zip(images, line, strict=False):
            axis.imshow(image.reshape(shape), **look)
        line[0].text(-0.15, 0.5, title, transform=line[0].transAxes, ha="right", va="center")
    plt.show()


def bars(values: Mapping[str, float], what: str, digits: int = 4) -> None:
    """Compare a few numbers: one horizontal bar each, with the number written at its end."""
    _, axis = plt.subplots(figsize=(7.5, 0.5 * len(values) + 0.9))
    names = list(values)[::-1]
    drawn = axis.barh(names, [values[name] for name in names], color=[COLOURS[0]] * len(names))
    axis.bar_label(drawn, fmt=f"%.{digits}f", padding=4)
    axis.set(xlabel=what, xlim=(0, 1.15 * max(values.values())))
    plt.show()


def code_planes(planes: Mapping[str, ArrayLike], labels: ArrayLike) -> None:
    """Show two-dimensional codes side by side, a colour per class, and each class's number at its middle."""
    classes = np.asarray(labels)
    _, axes = plt.subplots(1, len(planes), figsize=(5.2 * len(planes), 4.8), squeeze=False)
    for axis, (title, codes) in zip(axes[0], planes.items(), strict=True):
        points = np.asarray(codes)
        axis.scatter(points[:, 0], points[:, 1], c=classes, cmap="tab10", s=14, alpha=0.8, linewidths=0)
        for one in np.unique(classes):
            middle = np.median(points[classes == one], axis=0)
            box = {"boxstyle": "circle,pad=0.15", "facecolor": "white", "edgecolor": "0.5", "alpha": 0.85}
            axis.text(*middle, str(one), ha="center", va="center", weight="bold", bbox=box)
        axis.set(title=title, xlabel="first number of the code", ylabel="second number of the code")
    plt.show()
