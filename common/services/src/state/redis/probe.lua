-- Writes what is of no use, for a minute, with what scripts of runs write with. KEYS: a hash and a sorted set. Answers with 1.

local now = redis.call('TIME')[1]
redis.call('HSET', KEYS[1], 'probe', now)
redis.call('ZADD', KEYS[2], now, 'probe')
for _, probed in ipairs(KEYS) do
  redis.call('PEXPIRE', probed, 60000)
end
return 1
