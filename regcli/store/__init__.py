"""The store: content, commit logs and their derived files. The format is described in FORMAT.md."""
