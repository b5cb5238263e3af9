"""What a run found, and how it is shown: as text, Markdown, JSON and charts."""
