"""`aioresp worker`: a process that works the queues of an application.

Never works a job itself: that is the worker of the recipes.
"""
