"""The figures of a board: pure functions of its tables that give Vega-Lite."""
