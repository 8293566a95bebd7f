"""Results for people: report, tables, pictures, progress."""
