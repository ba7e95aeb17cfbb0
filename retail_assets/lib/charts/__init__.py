"""Charts of the results as PNG pictures, for the metadata of assets and for notebooks: plain functions on frames, one module per layer.

What is drawn is computed elsewhere (`segments`, `baskets`): in here are only axes, labels and colours. `_style` holds what all charts share. No
pyplot, so nothing is global and any thread may draw.
"""
