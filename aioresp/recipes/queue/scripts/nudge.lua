-- Wake one worker.
wake()
return 1
