"""The chapters of a report: each turns the arrays of a study into a heading, what was found, tables and charts."""
