"""Charts of a report: drawn in inches, readable in print, the same colour for a method in every one."""
