# Draws the picture of a run: one bar per row, how much of stock's cost is left. `data` is what hub.json holds.
import io
import sys

from matplotlib.figure import Figure

rows = [row for row in data["rows"] if row["ratio"] is not None]  # noqa: F821 - handed over by report.py
colours = {True: "#2a7f62", False: "#c8553d", None: "#8a8d91"}

figure = Figure(figsize=(11, 0.42 * len(rows) + 1.9), dpi=110)
axes = figure.subplots()
for place, row in enumerate(reversed(rows)):
    shown = max(row["ratio"], 1e-3)
    axes.barh(place, shown, color=colours[row["reached"]], height=0.7)
    asked = f", asked {row['asked']}" if row["asked"] else ""
    text = f" {row['ours']:.3g} instead of {row['stock']:.3g} {row['unit']}{asked}"
    axes.text(shown, place, text, va="center", fontsize=9)
axes.axvline(1, color="black", linewidth=1)
axes.text(1, len(rows) - 0.4, " stock", fontsize=9, va="bottom")
axes.set_yticks(range(len(rows)), [row["what"] for row in reversed(rows)], fontsize=9)
axes.set_xscale("log")
axes.set_xlim(1e-3, 60)
axes.set_xticks([0.001, 0.01, 0.1, 1, 10], ["1/1000", "1/100", "1/10", "1", "10"])
axes.set_xlabel("ours as a part of stock: left is better")
title = "DAVIDE Hub beside stock batchspawner, same cluster, same run"
axes.set_title(f"{title}\ngreen: as good as asked, red: not, grey: nothing asked")
for side in ("top", "right"):
    axes.spines[side].set_visible(False)
figure.tight_layout()
made = io.BytesIO()
figure.savefig(made, format="png")
sys.stdout.buffer.write(made.getvalue())
