"""What Jobs report, apart from the results of single commands."""
