"""What ``deepbid-rt doctor`` asks about the pixels of a stream or a recording: one function for each question.

Nothing here prints, and nothing but `deepbid_rt.doctor.collect` waits for frames.
"""
