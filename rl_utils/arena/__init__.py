"""The practice arena: Rocket League's physics with pictures, a window and a scripted driver, and no file of the game.

It is the stand-in game: it knows nothing of recording, training or driving, which reach it as they would reach the
real game (its window and its pad), or in direct mode through `rl_utils.devices`.
Run `python -m rl_utils.arena --help`.
"""
