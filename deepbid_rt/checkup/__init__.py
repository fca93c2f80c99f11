"""What ``deepbid-rt doctor`` looks at: one file for each part of a computer. Nothing here prints."""
