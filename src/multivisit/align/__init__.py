"""Where exactly is each exposure? Sources, reference catalogs and corrected WCS solutions."""
