"""RLAI: a bot that learns Rocket League by watching you play.

Read in the order the data flows: frames and inputs (`get_current_frame`, `controller_reader`) become batch files
(`data_batcher`), batches become a policy (`dataset`, `trainer`, `model`), and its answers become inputs again
(`apply_inputs`).
"""

__version__ = "0.1.0"
