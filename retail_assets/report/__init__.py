"""The report: one HTML file per publication, for people who decide on marketing; it needs no network and no server.

    figures.py      everything that is read: queries on the published file, nothing else
    texts.py        figures as text: money, shares, months
    sentences.py    what is said: figures in words
    charts.py       what is drawn: Vega-Lite specifications, rendered to SVG
    page.py         the file: template, style and script put together, and written

A pure function of the published file and the code: the same file gives the same bytes. Texts of users are escaped wherever they stand.
"""

from retail_assets.report.page import ReportError, UnknownMonthError, is_current, render, write

__all__ = ["ReportError", "UnknownMonthError", "is_current", "render", "write"]
