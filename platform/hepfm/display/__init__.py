"""Event displays: panels that plugins describe, drawn as HTML (plotly) and as PNG (matplotlib)."""
