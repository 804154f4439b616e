-- Wake one worker, or the one that waits at KEYS[12].
if KEYS[12] then
  call('RPUSH', KEYS[12], '1')
  call('PEXPIRE', KEYS[12], 60000)
else
  wake()
end
return 1
