"""What the documentation site needs besides its pages: links into the repository, docstrings as Markdown, the build."""
