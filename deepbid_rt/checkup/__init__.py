"""What ``deepbid-rt checkup`` looks at: one file for each part of a computer. Nothing here prints."""
