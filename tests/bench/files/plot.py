# Draws the picture of a run: one bar per row, how much of stock's cost is left. `data` is what hub.json holds.
import io
import sys

from matplotlib.figure import Figure

rows = [row for row in data["rows"] if row["ratio"] is not None][::-1]  # noqa: F821 - handed over by report.py
colours = {True: "#2a7f62", False: "#c8553d", None: "#8a8d91"}
least = 1e-3


def number(value):
    """Return a value with three digits."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


figure = Figure(figsize=(13, 0.4 * len(rows) + 1.8), dpi=110)
axes = figure.subplots()
for place, row in enumerate(rows):
    axes.barh(place, max(row["ratio"], 1.1 * least), color=colours[row["reached"]], height=0.7)
    asked = f"   asked: {row['asked']}" if row["asked"] else ""
    text = f"{number(row['ours'])} instead of {number(row['stock'])} {row['unit']}{asked}"
    axes.text(1.01, place, text, va="center", fontsize=9, transform=axes.get_yaxis_transform())
axes.axvline(1, color="black", linewidth=1)
axes.set_yticks(range(len(rows)), [row["what"] for row in rows], fontsize=9)
axes.set_xscale("log")
axes.set_xlim(least, max([2, *(1.2 * row["ratio"] for row in rows)]))
axes.set_xticks([0.001, 0.01, 0.1, 1], ["1/1000", "1/100", "1/10", "as stock"])
axes.set_xlabel("ours as a part of stock: shorter is better")
title = "DAVIDE Hub beside stock batchspawner, same cluster, same run"
axes.set_title(f"{title}\ngreen: as good as asked, red: not, grey: nothing asked", fontsize=11)
for side in ("top", "right"):
    axes.spines[side].set_visible(False)
figure.tight_layout()
made = io.BytesIO()
figure.savefig(made, format="png", bbox_inches="tight")
sys.stdout.buffer.write(made.getvalue())
