"""The board as one HTML file that needs nothing else: tables, charts, every record."""
