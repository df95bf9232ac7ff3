"""How is it written? Names, headers, FITS files, previews and tables."""
