"""What a figure shows."""


def dots(ax):
    """The points that are drawn without a line, as (x, y), from left to right."""
    found = [
        tuple(xy) for line in ax.get_lines() if line.get_linestyle() == "None" for xy in line.get_xydata().round(4)
    ]
    return sorted(found)


def lines(figure, panel=0):
    """The lines of a panel by their label; of those with the same one, the last."""
    return {line.get_label(): line for line in figure.axes[panel].get_lines()}


def legend(figure):
    """The words of the legend."""
    return [text.get_text() for text in figure.legends[0].get_texts()] if figure.legends else []
