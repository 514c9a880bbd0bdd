"""CSV: blocks of lines to matrices, fast where they are plain numbers, cell by cell where they are not."""
